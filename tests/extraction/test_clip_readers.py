"""Clips side by side: each clip's frames in order, clips begun in order, nothing read far ahead, nobody left behind."""

import os
import random
import threading
import time
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from support import made_clips

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.errors import EngineError, MediaError
from facedep_jax.extraction import clip_readers, local_extraction
from facedep_jax.extraction.clip_readers import AHEAD, ClipReaders
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import ClipInfo, Frame, InputSettings, open_clip
from facedep_jax.media.file_hashing import state_of
from facedep_jax.progress_events import Interrupted, Progress
from facedep_jax.sources import read_source

QUICK = ExtractSettings(
    weights="random:1", taps="mobilenet_v2:mid@1", size="32", batch_size=4, faces="none", shard_rows=9, fps=25.0
)
WHOLE = InputSettings((32,), fps=25.0)
LENGTHS = (40, 7, 25, 3, 60, 12)  # frames


def made(path, frames):
    """A clip of so many frames, each of which is sampled."""
    return made_clips.write(path, made_clips.Recipe("mp4", "mpeg4", stamps=tuple(40 * k for k in range(frames))))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips of other lengths, one that breaks off at once, and one there is twice."""
    folder = tmp_path_factory.mktemp("made") / "clips"
    folder.mkdir()
    for number, frames in enumerate(LENGTHS):
        made(folder / f"{number}.mp4", frames)
    (folder / "1_cut.mp4").write_bytes((folder / "1.mp4").read_bytes()[:400])
    (folder / "4_again.mp4").write_bytes((folder / "4.mp4").read_bytes())
    return folder


class Dawdling:
    """`clip`, which takes its time at each frame, and longest before its first."""

    def __init__(self, clip, rng, first):
        self._clip, self._rng, self._first = clip, rng, first

    def __getattr__(self, attribute):
        return getattr(self._clip, attribute)

    def __enter__(self):
        self._clip.__enter__()
        return self

    def __exit__(self, *error):
        self._clip.__exit__(*error)

    def __iter__(self):
        time.sleep(self._first)
        for frame in self._clip:
            time.sleep(self._rng.uniform(0, 0.01))
            yield frame


def dawdle(monkeypatch, seed, first=0.3):
    rng = random.Random(seed)

    def opened(path, settings, threads):
        return Dawdling(open_clip(path, settings, threads=threads), random.Random(rng.random()), rng.uniform(0, first))

    monkeypatch.setattr(clip_readers, "open_clip", opened)


def begin(readers, *paths):
    for path in paths:
        readers.start(path.name, path, state_of(path))


def taken(readers):
    while len(readers):
        yield readers.next()


def test_frames_come_in_order_and_clips_begin_in_order(clips, monkeypatch):
    monkeypatch.setattr(clip_readers, "open_clip", lambda path, settings, threads: _late(path, settings, "0.mp4"))
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, *(clips / f"{number}.mp4" for number in range(4)))
        given = list(taken(readers))
    for number, frames in enumerate(LENGTHS[:4]):
        own = [what for name, what in given if name == f"{number}.mp4"]
        assert len(own) == frames + 1 and isinstance(own[-1], ClipInfo)
        assert [round(25 * frame.time) for frame in own[:-1]] == list(range(frames))
    assert list(dict.fromkeys(name for name, _ in given)) == [f"{number}.mp4" for number in range(4)]


def _late(path, settings, name):
    return Dawdling(open_clip(path, settings), random.Random(0), 0.5 if path.name == name else 0.0)


def test_no_more_than_a_few_frames_wait_and_leaving_ends_everything(clips):
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, clips / "0.mp4", clips / "4.mp4")
        readers.next()
        until = time.monotonic() + 20
        while time.monotonic() < until and any(len(reader.waiting) < AHEAD for reader in readers._readers):
            time.sleep(0.05)
        time.sleep(0.3)
        assert [len(reader.waiting) for reader in readers._readers] == [AHEAD, AHEAD]
        workers = [reader.clip._decoder.pid for reader in readers._readers]
    until = time.monotonic() + 20
    while time.monotonic() < until and (_reading() or any(map(_runs, workers))):
        time.sleep(0.05)
    assert not _reading() and not any(map(_runs, workers))


def _reading():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read ")]


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_leaving_does_not_wait_for_a_decoder_that_hangs(clips, monkeypatch):
    opened = threading.Event()

    def hanging(path, settings, threads):
        clip = open_clip(path, settings)
        os.kill(clip._decoder.pid, 19)  # SIGSTOP: it says nothing any more
        opened.set()
        return clip

    monkeypatch.setattr(clip_readers, "open_clip", hanging)
    begun = time.monotonic()
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, clips / "0.mp4")
        assert opened.wait(20)
        time.sleep(0.2)
    until = time.monotonic() + 20
    while time.monotonic() < until and _reading():
        time.sleep(0.05)
    assert not _reading() and time.monotonic() - begun < 20  # and not 30 s, after which a decoder counts as hung


def test_a_clip_that_fails_tells_it_alone_and_what_else_goes_wrong_is_raised(clips, tmp_path, monkeypatch):
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, clips / "1_cut.mp4", clips / "1.mp4", clips / "3.mp4")
        given = list(taken(readers))
    assert Counter(name for name, _ in given) == {"1_cut.mp4": 1, "1.mp4": LENGTHS[1] + 1, "3.mp4": LENGTHS[3] + 1}
    assert [isinstance(what, MediaError) for name, what in given if name == "1_cut.mp4"] == [True]

    changing = tmp_path / "changing.mp4"
    changing.write_bytes((clips / "3.mp4").read_bytes())
    with ClipReaders(WHOLE, 1) as readers:
        before = state_of(changing)
        os.utime(changing, ns=(1, 1))
        readers.start("changing", changing, before)
        *frames, (_, last) = taken(readers)
    assert all(isinstance(frame, Frame) for _, frame in frames) and isinstance(last, MediaError)
    assert "changed" in last.reason and last.stage == "read"

    def broken(path, settings, threads):
        raise EngineError("no such thing")

    monkeypatch.setattr(clip_readers, "open_clip", broken)
    with ClipReaders(WHOLE, 1) as readers, pytest.raises(EngineError, match="no such thing"):
        begin(readers, clips / "0.mp4")
        readers.next()


def run(clips, out, report=lambda event: None):
    return extract([read_source(str(clips))], out, QUICK, report)


@pytest.fixture(scope="module")
def alone(clips, tmp_path_factory):
    """The cache of one clip after the other."""
    out = tmp_path_factory.mktemp("alone") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_extraction, "decoders", lambda: 1)
        summary = run(clips, out)
    assert (summary["items_new"], summary["items_failed"], summary["rows"]) == (6, 1, sum(LENGTHS))
    return out


@pytest.mark.parametrize("at_once", [2, 3, 16])
def test_a_cache_of_clips_is_the_same_whatever_the_timing(clips, alone, tmp_path, monkeypatch, at_once):
    """Rows, features, the order of items, and what is listed; where shards end is not told apart."""
    dawdle(monkeypatch, at_once)
    monkeypatch.setattr(local_extraction, "decoders", lambda: at_once)
    events = []
    summary = run(clips, tmp_path / "c", events.append)
    assert (summary["items_new"], summary["items_failed"], summary["rows"]) == (6, 1, sum(LENGTHS))
    assert verify_cache(tmp_path / "c")["ok"] and diff_caches(alone, tmp_path / "c")["equal"]
    one, other = open_cache(alone), open_cache(tmp_path / "c")
    assert one.items.id.tolist() == other.items.id.tolist()
    assert one.failures.equals(other.failures)
    whole = [cache.listings.filter(pl.col("item").is_in(cache.items.ids().implode())) for cache in (one, other)]
    assert whole[0].equals(whole[1]) and whole[0]["path"].to_list() == sorted(whole[0]["path"])
    assert one.listings.sort("path").equals(other.listings.sort("path"))  # a failure is told when it comes
    last = [event for event in events if isinstance(event, Progress) and event.stage == "extract"][-1]
    assert (last.done, last.total, last.failed, last.frames) == (8, 8, 1, sum(LENGTHS))
    assert last.media_s == pytest.approx(sum(LENGTHS) / 25, abs=0.01) and last.size == last.size_total


def test_clips_that_were_interrupted_together_go_on_where_each_of_them_was(clips, alone, tmp_path, monkeypatch):
    dawdle(monkeypatch, 0, first=0.05)
    monkeypatch.setattr(local_extraction, "decoders", lambda: 3)

    def until_some_are_read(event):
        if isinstance(event, Progress) and event.frames > 50:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(clips, tmp_path / "c", until_some_are_read)
    held = open_cache(tmp_path / "c")
    assert verify_cache(tmp_path / "c")["ok"] and len(held.items) < 6 and held.starts[-1]
    summary = run(clips, tmp_path / "c")
    assert summary["items_new"] + summary["items_reused"] == 6 and 0 < summary["rows"] < sum(LENGTHS)
    assert diff_caches(alone, tmp_path / "c")["equal"] and verify_cache(tmp_path / "c")["ok"]


def test_leaving_ends_no_decoder_that_is_somebody_elses(clips):
    """Of a clip that was read to its end before anybody took it: its decoder is the next one's."""
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, clips / "3.mp4", clips / "0.mp4")
        short = readers._readers[0]
        until = time.monotonic() + 20
        while time.monotonic() < until and "read 3.mp4" in {thread.name for thread in _reading()}:
            time.sleep(0.02)
        assert len(short.waiting) == LENGTHS[3] + 1 and short.clip is None
    for _ in range(3):
        with open_clip(clips / "3.mp4", WHOLE) as clip:
            assert len(list(clip)) == LENGTHS[3]


def test_a_clip_that_is_opened_after_everybody_left_is_not_read(clips, monkeypatch):
    left, ended = threading.Event(), threading.Event()

    def late(path, settings, threads):
        left.wait(20)
        ended.set()
        return open_clip(path, settings)

    monkeypatch.setattr(clip_readers, "open_clip", late)
    with ClipReaders(WHOLE, 1) as readers:
        begin(readers, clips / "0.mp4")
    left.set()
    assert ended.wait(20)
    until = time.monotonic() + 10
    while time.monotonic() < until and _reading():
        time.sleep(0.02)
    assert not _reading()


def test_there_is_a_chance_to_stop_while_others_are_read_ahead(clips, monkeypatch):
    monkeypatch.setattr(clip_readers, "open_clip", lambda path, settings, threads: _late(path, settings, "0.mp4"))
    monkeypatch.setattr(clip_readers, "TICK", 0.005)
    ticks = []
    with ClipReaders(WHOLE, 1, ticks.append) as readers:
        begin(readers, *(clips / f"{number}.mp4" for number in (0, 2, 4)))
        readers.next()
    assert len(ticks) >= 3


def test_a_clip_that_is_replaced_while_it_waits_is_the_new_one(clips, tmp_path, monkeypatch):
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in (0, 4):
        (folder / f"{number}.mp4").write_bytes((clips / f"{number}.mp4").read_bytes())
    (folder / "9.mp4").write_bytes((clips / "3.mp4").read_bytes())
    (tmp_path / "new.mp4").write_bytes((clips / "2.mp4").read_bytes())
    monkeypatch.setattr(local_extraction, "decoders", lambda: 1)

    def replace_it(event):
        if isinstance(event, Progress) and event.frames == 21 and (tmp_path / "new.mp4").exists():
            os.replace(tmp_path / "new.mp4", folder / "9.mp4")

    summary = run(folder, tmp_path / "c", replace_it)
    assert (summary["items_new"], summary["items_failed"]) == (3, 0)
    assert summary["rows"] == LENGTHS[0] + LENGTHS[4] + LENGTHS[2]


@pytest.mark.parametrize("shard_rows", [5, 9, 25])
def test_bytes_that_failed_under_one_name_come_whole_under_another(clips, tmp_path, shard_rows):
    """The first name is touched while it is read, when some of its rows are committed and some on their way."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes((clips / "4.mp4").read_bytes())

    def touch(event):
        if isinstance(event, Progress) and event.frames == 41 and event.failed == 0:
            os.utime(folder / "a.mp4", ns=(1, 1))

    settings = replace(QUICK, shard_rows=shard_rows)
    summary = extract([read_source(str(folder))], tmp_path / "c", settings, touch)
    assert (summary["items_new"], summary["items_failed"]) == (1, 1)
    cache = open_cache(tmp_path / "c")
    assert cache.items.rows.tolist() == [LENGTHS[4]]
    assert cache.rows.time.tolist() == sorted(set(cache.rows.time.tolist()))
