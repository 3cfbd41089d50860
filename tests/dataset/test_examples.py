"""Examples out of caches: the right features for the right item, whatever the order, the cache or the frames."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from support.planted import NO_BOX, QUICK, TAPS, labelled, planted_examples, spec, write_cache

from facedep_jax import open_cache
from facedep_jax.backbones.taps import plain_taps
from facedep_jax.cache import CacheWriter
from facedep_jax.dataset import clip_windows
from facedep_jax.dataset.duplicates_across_splits import equal_pixels_across, look_alikes
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.dataset.prepare import duplicate_warnings
from facedep_jax.errors import DamagedCache, LabelError
from facedep_jax.evaluation.bootstrap import cluster_index
from facedep_jax.training.train_head import train_head


def frame(item, row):
    rng = np.random.default_rng([int(item, 16), row])
    return {tap: rng.normal(size=shape).astype(np.float16) for tap, shape in TAPS.items()}


@pytest.fixture
def clips(tmp_path):
    """Three clips: faces in frames 0 and 2 of three, none at all, and all five."""
    engine = SimpleNamespace(name="xla", version="1", device="cpu")
    with CacheWriter(tmp_path / "clips", spec(), engine) as writer:
        for number, faces in enumerate(((1, 0, 1), (0, 0), (1, 1, 1, 1, 1))):
            item = f"{number:064x}"
            writer.begin_item(item, "clip")
            for row, face in enumerate(faces):
                writer.add_row(row / 4, 1 if face else 3, NO_BOX, 0.5, frame(item, row) if face else None)
            writer.end_item(30, 40, len(faces) / 4)
    return open_cache(tmp_path / "clips")


def test_frames_without_a_face_and_clips_without_any_are_left_out(clips):
    events = []
    found = gather([clips], labelled([f"{i:064x}" for i in (2, 1, 0)]), [1, 1, 0], tuple(TAPS), events.append)
    assert found.item.tolist() == [f"{2:064x}", f"{0:064x}"] and found.target.tolist() == [1, 0]
    assert found.mask.sum(1).tolist() == [5, 2]
    assert found.times[1, :2].tolist() == [0.0, 0.5]
    for tap in TAPS:
        assert (found.tokens[tap][1, 1] == frame(f"{0:064x}", 2)[tap]).all()
        assert (found.tokens[tap][0, 4] == frame(f"{2:064x}", 4)[tap]).all()
        assert not found.tokens[tap][1, 2:].any()
    assert "1 items without a frame" in events[0].text


def test_clips_are_cut_into_windows_and_what_is_said_of_a_clip_is_the_mean_over_them(clips):
    labels = labelled([f"{i:064x}" for i in (2, 0, 1)])
    found = gather([clips], labels, [1, 0, 1], tuple(TAPS), window=0.5)
    assert found.clip.tolist() == [0, 0, 0, 1, 1]  # 5 frames at 4 a second are 2 + 2 + 1, and 2 of 3 show a face
    assert found.mask.sum(1).tolist() == [2, 2, 1, 1, 1]
    assert found.times[1, :2].tolist() == [0.0, 0.25]  # since the window began
    assert (found.tokens["resnet50:top@1"][2, 0] == frame(f"{2:064x}", 4)["resnet50:top@1"]).all()
    assert found.clips.item.tolist() == [f"{2:064x}", f"{0:064x}"] and found.clips.target.tolist() == [1, 0]
    assert found.over_clips(np.array([[3.0, 6.0, 9.0, 1.0, 2.0]])).tolist() == [[6.0, 1.5]]
    assert found.share.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    second = found[found.item == f"{0:064x}"]
    assert second.over_clips(np.array([[[1.0, 2.0], [3.0, 6.0]]])).tolist() == [[[2.0, 4.0]]]
    whole = gather([clips], labels, [1, 0, 1], tuple(TAPS), window=100.0)
    assert whole.clip is None and whole.clips is whole and whole.share.tolist() == [1, 1]


def test_what_stays_in_the_cache_reads_as_if_it_were_in_memory(clips):
    labels = labelled([f"{i:064x}" for i in (2, 0)])
    held, stored = (gather([clips], labels, [1, 0], tuple(TAPS), stream=stream) for stream in (False, True))
    assert stored.streamed and not held.streamed and stored.feature_bytes == held.feature_bytes
    assert (stored.mask == held.mask).all() and (stored.times == held.times).all()
    for tap, x in held.tokens.items():
        lazy = stored.tokens[tap]
        assert (lazy.shape, lazy.dtype, lazy.nbytes, len(lazy)) == (x.shape, x.dtype, x.nbytes, len(x))
        for index in (1, [1, 0, 1], np.s_[:1], np.s_[0:0], np.array([False, True]), ([0, 1], 0), ([1, 0], [1, 4])):
            np.testing.assert_array_equal(lazy[index], x[index])
        np.testing.assert_array_equal(lazy[1][held.mask[1]], x[1][held.mask[1]])
        out = np.full((3, *x.shape[1:]), 7, np.float16)
        lazy.read(np.array([1, 0]), np.array([2, 0]), out)
        assert (
            (out[2, :2] == x[1, :2]).all()
            and (out[0] == x[0]).all()
            and (out[1] == 7).all()
            and (out[2, 2:] == 7).all()
        )


def test_choosing_clips_and_taps_reads_nothing(clips):
    stored = gather([clips], labelled([f"{i:064x}" for i in (2, 0)]), [1, 0], tuple(TAPS), stream=True)
    for shard in clips.shards:
        shard.path.unlink()
    some = stored[np.array([False, True])].only(["resnet50:top@1"])
    assert some.streamed and len(some) == 1 and some.item.tolist() == [f"{0:064x}"]
    with pytest.raises(DamagedCache, match="cannot be read any more"):
        some.tokens["resnet50:top@1"][0]


@pytest.mark.parametrize("stream", [False, True])
def test_second_views_are_found_beside_plain_taps(tmp_path, stream):
    """Of a cache extracted with mirrored views; another without them beside it, and there are none."""
    shapes = {name: TAPS[tap] for tap in TAPS for name in (tap, f"{tap}~flipped")}
    rng = np.random.default_rng(0)
    values = [{name: rng.normal(size=s).astype(np.float16) for name, s in shapes.items()} for _ in range(4)]
    both = spec(taps=list(shapes), channels={name: shape[-1] for name, shape in shapes.items()})
    engine = SimpleNamespace(name="xla", version="1", device="cpu")
    with CacheWriter(tmp_path / "both", both, engine) as writer:
        for number, features in enumerate(values):
            writer.begin_item(f"{number:064x}", "image")
            writer.add_row(0.0, 0, NO_BOX, np.nan, features)
            writer.end_item(64, 64)
    cache = open_cache(tmp_path / "both")
    assert plain_taps(cache.taps) == tuple(TAPS)
    order = [3, 0, 2]
    found = gather([cache], labelled([f"{i:064x}" for i in order]), [0, 1, 0], tuple(TAPS), stream=stream)
    assert list(found.tokens) == list(found.views) == list(TAPS)
    for part in (found, found[np.arange(3)], found.only(list(TAPS))):
        for tap in TAPS:
            for place, number in enumerate(order):
                assert (part.tokens[tap][place, 0] == values[number][tap]).all()
                assert (part.views[tap][place, 0] == values[number][f"{tap}~flipped"]).all()
    plain = open_cache(write_cache(tmp_path / "plain", planted_examples(8)))
    assert gather([plain], labelled([f"{1:064x}"]), [0], tuple(TAPS)).views is None
    mixed = gather([cache, plain], labelled([f"{i:064x}" for i in (1, 7)]), [0, 1], tuple(TAPS))
    assert mixed.views is None and len(mixed) == 2


def test_the_frames_of_a_row_are_those_of_its_segment(clips):
    """From its start on and before its end, at their times on the file's clock; windows are cut within it."""
    labels = labelled([f"{i:064x}" for i in (2, 2, 0)]).with_columns(
        start=pl.Series([0.25, 0.5, None]), end=pl.Series([0.75, 1.3, None])
    )
    found = gather([clips], labels, [1, 0, 1], tuple(TAPS))
    assert [found.times[n, found.mask[n]].tolist() for n in range(3)] == [[0.25, 0.5], [0.5, 0.75, 1.0], [0.0, 0.5]]
    assert (found.tokens["resnet50:top@1"][0, 1] == frame(f"{2:064x}", 2)["resnet50:top@1"]).all()
    assert (found.start[:2].tolist(), found.end[:2].tolist()) == ([0.25, 0.5], [0.75, 1.3]) and np.isnan(found.start[2])
    cut = gather([clips], labels, [1, 0, 1], tuple(TAPS), window=0.5)
    assert cut.clip.tolist() == [0, 1, 1, 2, 2] and cut.times[:3].tolist() == [[0.0, 0.25], [0.0, 0.25], [0.0, 0.0]]
    assert cut.clips.end.tolist()[:2] == [0.75, 1.3]


def test_segments_of_a_file_of_nobody_known_count_as_one_in_intervals(clips):
    times = {"start": pl.Series([0.0, 0.5, None]), "end": pl.Series([0.5, 1.0, None])}
    labels = labelled([f"{i:064x}" for i in (2, 2, 0)]).with_columns(**times, subject=pl.lit(None, pl.String))
    found = gather([clips], labels, [1, 0, 1], tuple(TAPS))
    numbers, by = cluster_index(found.person)
    assert (numbers.tolist(), by) == ([0, 0, 1], "image") and found.subject.tolist() == [None] * 3
    assert len(set(found.unit)) == 3 and found.unit[2] == found.item[2]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (0.3, 0.45, "1 items without a frame that shows a face are left out, such as x [0.3-0.45 s]"),
        (0.5, 1.6, "1 segments are left out: x [0.5-1.6 s], which ends at 1.6 s, and its clip at 1.25 s"),
        (0.5, 1.5, ""),  # less than a frame after the end
    ],
)
def test_segments_without_a_face_or_beyond_the_clip_are_named(clips, start, end, said):
    events = []
    labels = labelled([f"{2:064x}"] * 2).with_columns(
        start=pl.Series([0.0, start]), end=pl.Series([0.5, end]), path=pl.lit("x")
    )
    found = gather([clips], labels, [1, 0], tuple(TAPS), events.append)
    assert [event.text for event in events] == [said] * bool(said) and len(found) == 2 - bool(said)


def test_long_clips_are_cut_and_no_frame_is_left_out(clips, monkeypatch):
    monkeypatch.setattr(clip_windows, "MAX_FRAMES", 3)
    events = []
    found = gather([clips], labelled([f"{i:064x}" for i in (2, 0)]), [1, 0], tuple(TAPS), events.append)
    assert found.clip.tolist() == [0, 0, 1] and found.mask.sum(1).tolist() == [3, 2, 2]
    assert found.times[:2].tolist() == [[0.0, 0.25, 0.5], [0.0, 0.25, 0.0]]  # since each window began
    assert (found.tokens["resnet50:top@1"][1, 1] == frame(f"{2:064x}", 4)["resnet50:top@1"]).all()
    assert found.frames.tolist() == [5, 5, 2]
    told = "1 clips have more than 128 frames with a face, and are cut further"
    assert [event.text for event in events] == ["2 clips are cut into 3 windows", told]
    del events[:]
    gather([clips], labelled([f"{2:064x}"]), [1], tuple(TAPS), events.append, window=0.5)
    assert not any("cut further" in event.text for event in events)  # no window has more
    cut = gather([clips], labelled([f"{2:064x}"]), [1], tuple(TAPS), events.append, window=1.0)
    assert "1 clips have windows of 1 s with more than 128 frames" in events[-1].text
    assert cut.mask.sum(1).tolist() == [2, 2, 1] and cut.times[1].tolist() == [0.0, 0.25]


def test_clips_are_thinned_on_request_and_the_rate_is_said(clips):
    events = []
    labels = labelled([f"{i:064x}" for i in (2, 0)])
    found = gather([clips], labels, [1, 0], tuple(TAPS), events.append, fps=2.0)
    assert found.times[found.mask].tolist() == [0.0, 0.5, 1.0, 0.0, 0.5]
    assert [event.text for event in events] == [
        "clips are thinned to 2 frames a second: 5 of 7 frames with a face (4.67 a second) are looked at"
    ]


def test_only_faceless_clips_are_an_error(clips):
    with pytest.raises(LabelError, match="no labelled item has a frame"):
        gather([clips], labelled([f"{1:064x}"]), [1], tuple(TAPS))


def test_several_caches_are_joined_and_the_first_with_an_item_counts(tmp_path):
    whole = planted_examples(24)
    first = open_cache(write_cache(tmp_path / "a", whole[np.arange(10)]))
    second = open_cache(write_cache(tmp_path / "b", whole[np.arange(5, 24)]))
    order = np.random.default_rng(0).permutation(24)
    found = gather([first, second], labelled(whole.item[order]), whole.target[order], tuple(TAPS))
    for tap in TAPS:
        assert (found.tokens[tap] == whole.tokens[tap][order]).all()
    assert (found.target == whole.target[order]).all()


def test_pictures_that_look_alike_across_splits_are_counted(tmp_path):
    examples = planted_examples(40)  # of four, two are learned from, one validates, one tests; two pictures a person
    cache = open_cache(write_cache(tmp_path / "c", examples))
    cache.items.phash[:] = np.random.default_rng(0).integers(1 << 40, 1 << 63, 40)
    assert look_alikes([cache], examples) == (0, True)
    cache.items.phash[[0, 4]] = 0b1110001 << 40  # item 0 is learned from, item 4 validates
    cache.items.phash[[6, 7]] = 78 << 40  # both in test
    assert look_alikes([cache], examples) == (0, True)  # a hash alone says little
    for x in examples.tokens.values():
        x[4] = x[0] + np.float16(0.05)
        x[7] = x[6]
    assert look_alikes([cache], examples) == (2, True)
    cache.items.phash[4] ^= 0b111111  # six bits
    assert look_alikes([cache], examples) == (2, True)
    cache.items.phash[4] ^= 1 << 50
    assert look_alikes([cache], examples) == (0, True)


def test_a_search_for_look_alikes_that_was_cut_short_says_so(tmp_path):
    examples = planted_examples(800)
    cache = open_cache(write_cache(tmp_path / "c", examples))
    cache.items.phash[:] = 5  # of one scene: 319,600 pairs
    assert look_alikes([cache], examples) == (0, False)
    assert any("may be missed" in said for said in duplicate_warnings([cache], examples, allowed=False))


def test_equal_pixels_are_found_whatever_the_files_are(tmp_path):
    examples = planted_examples(16)
    cache = open_cache(write_cache(tmp_path / "c", examples))
    assert equal_pixels_across([cache], examples) == []
    cache.items.phash[:] = 77
    for x in examples.tokens.values():
        x[4] = x[5] = x[0]  # 0 is learned from, 4 and 5 validate
        x[7] = x[6]
    assert equal_pixels_across([cache], examples) == [(0, 4), (0, 5)]
    examples.tokens["resnet50:top@1"][4, 0, 0, 0, 0] += np.float16(0.001)
    assert equal_pixels_across([cache], examples) == [(0, 5)]
    cache.items.width[5] += 1
    assert equal_pixels_across([cache], examples) == []


def test_equal_pixels_stop_training_unless_they_are_allowed(tmp_path):
    examples = planted_examples()
    for x in examples.tokens.values():
        x[4] = x[0]
    cache = open_cache(write_cache(tmp_path / "c", examples))
    cache.items.phash[4] = cache.items.phash[0]
    settings = replace(QUICK, baselines="none")
    with pytest.raises(
        LabelError, match=r"1 items have the pixels .*0\.jpg \(train\) and 4\.jpg \(val\).*--allow-duplicates"
    ):
        train_head([cache], settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    summary = train_head([cache], replace(settings, allow_duplicates=True), tmp_path / "run")
    assert [w for w in summary["warnings"] if "they are kept, as asked" in w]
    assert [w for w in summary["warnings"] if "2 items are near-duplicates" in w]
