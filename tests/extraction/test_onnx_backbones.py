"""Networks of the user's own from file to cache: what is kept, what makes another spec, what a run asks for."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.onnx_networks import TensorProto, helper, onnx, run_file, saved

from facedep_jax.backbones.onnx_backbones.known_files import recall
from facedep_jax.cache import open_cache
from facedep_jax.cache.feature_spec import features_of, read_header
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.errors import EngineError, SettingsError, SpecMismatch, WeightsError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.scoring.head_requirements import extract_settings
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces
from facedep_jax.toml_settings import resolve

pytest.importorskip("openvino", reason="openvino (extra: cpu) is not installed")
TAP = "a:y@2"
SIZED = "a=mean:0.5,std:0.25"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, persons=2)
    return folder


@pytest.fixture
def file(tmp_path):
    return saved(tmp_path / "m.onnx")


def own(file, taps=TAP, **changed):
    """Settings for the taps of one file; without built-in networks no weights are asked for."""
    settings = ExtractSettings(
        taps=taps, backbone=(f"a={file}",), backbone_input=(SIZED,), batch_size=4, faces="none", engine="openvino"
    )
    return replace(settings, **changed)


def run(source, out, settings, report=lambda event: None):
    return extract([read_source(str(source))], out, settings, report)


def by_hand(file, picture):
    """Averages over a 2 × 2 grid of what onnxruntime gives for a picture of the network's own size."""
    x = (picture[..., ::-1].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    out = run_file(file, x.transpose(2, 0, 1)[None])[0]
    return out.reshape(6, 2, 4, 2, 4).mean((2, 4)).transpose(1, 2, 0)


def test_features_in_the_cache_are_those_of_onnxruntime_for_the_same_pixels(file, tmp_path):
    folder = tmp_path / "small" / "sad"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        assert cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    notes = []
    summary = run(folder.parent, tmp_path / "c", own(file), notes.append)
    assert (summary["features"], summary["untrained"], summary["items_new"]) == ({TAP: [2, 2, 6]}, False, 3)
    said = [getattr(note, "text", "") for note in notes]
    assert any("by default, since --backbone-input does not say it: order, range" in text for text in said)
    assert any(
        "openvino float32 agrees with onnxruntime one by one float32 to a cosine of 1.00000" in text for text in said
    )
    cache = open_cache(tmp_path / "c")
    paths = {entry["item"]: entry["path"] for entry in cache.listings.to_dicts()}
    for item, row in zip(cache.items.id, cache.items.first_row, strict=True):
        expected = by_hand(file, cv2.imread(str(folder.parent / paths[str(item)])))
        found = cache.features(TAP, cache.rows.feature[[row]])[0]
        np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-11, atol=1e-4)


def test_a_file_beside_the_built_in_networks(file, faces, tmp_path):
    """The built-in tap is what it is without the file; one that --taps does not name is kept, and said."""
    notes = []
    quick = {"weights": "random:1", "size": "32"}
    both = run(faces, tmp_path / "both", own(file, "mobilenet_v2:mid@2", **quick), notes.append)
    assert both["features"] == {"mobilenet_v2:mid@2": [2, 2, 576], "a:y@4": [4, 4, 6]}
    assert "a:y@4 is kept, as --taps names no other of a" in [getattr(note, "text", "") for note in notes]
    plain = own(file, "mobilenet_v2:mid@2", **quick, backbone=None, backbone_input=None)
    run(faces, tmp_path / "plain", plain)
    one, other = open_cache(tmp_path / "both"), open_cache(tmp_path / "plain")
    rows = np.arange(len(one.items))
    np.testing.assert_array_equal(*(c.features("mobilenet_v2:mid@2", rows) for c in (one, other)))
    assert "backbone" not in (tmp_path / "plain" / "config.toml").read_text()
    header = json.loads((tmp_path / "plain" / "cache.json").read_text())
    assert set(header["spec"]["features"]["weights"]["mobilenet_v2"]) == {"sha256", "family", "seed"}


def test_caches_of_a_file_resume_verify_merge_and_are_purged(file, faces, tmp_path):
    flip = own(file, flip=True)
    run(faces, tmp_path / "whole", flip)
    assert run(faces, tmp_path / "pieces", replace(flip, limit=7, shard_rows=3))["items_new"] == 7
    assert run(faces, tmp_path / "pieces", flip)["items_reused"] == 7
    assert diff_caches(tmp_path / "whole", tmp_path / "pieces")["equal"]
    whole = open_cache(tmp_path / "whole")
    assert list(whole.taps) == [TAP, f"{TAP}~flipped"]
    assert (whole.features(TAP, np.arange(4)) != whole.features(f"{TAP}~flipped", np.arange(4))).any()
    for side in ("sad", "happy"):
        run(faces / "train" / side, tmp_path / side, flip)
    merged = merge_caches([tmp_path / "sad", tmp_path / "happy"], tmp_path / "merged")
    assert verify_cache(tmp_path / "merged")["ok"] and merged["items"] > 0
    assert TAP in json.dumps(inspect_cache(tmp_path / "merged"), default=str)
    item = str(open_cache(tmp_path / "merged").items.id[0])
    purge_cache(tmp_path / "merged", [item])
    assert verify_cache(tmp_path / "merged")["ok"]
    assert item not in set(map(str, open_cache(tmp_path / "merged").items.id))


@pytest.mark.parametrize("changed", ["file", "input", "output"])
def test_what_changes_the_numbers_is_another_spec(file, faces, tmp_path, changed):
    run(faces, tmp_path / "c", own(file))
    settings = own(file)
    if changed == "file":
        saved(file, channels=6, form="map_nhwc")
        said = r"weights\.a\.sha256: "
    elif changed == "input":
        settings, said = own(file, backbone_input=("a=mean:0.5,std:0.5",)), r"weights\.a\.std: "
    else:
        same = helper.make_node("Identity", ["y"], ["z"])
        shape = [TensorProto.FLOAT, ["n", 6, 8, 8]]
        saved(file, extra=[same], outputs=[("y", *shape), ("z", *shape)])
        settings, said = own(file, "a:z@2", backbone=(f"a={file}:z",)), r"weights\.a\.output: y → z"
    with pytest.raises(SpecMismatch, match=said):
        run(faces, tmp_path / "c", settings)


def test_two_workers_leave_what_one_process_leaves(file, faces, tmp_path):
    pytest.importorskip("distributed", reason="distributed (extra: cluster) is not installed")
    run(faces, tmp_path / "one", own(file))
    run(faces, tmp_path / "two", own(file, workers=2))
    assert diff_caches(tmp_path / "one", tmp_path / "two")["equal"]


def test_a_network_that_gives_no_numbers_leaves_no_row(faces, tmp_path):
    bad = [helper.make_node("Sub", ["y", "y"], ["o"]), helper.make_node("Div", ["o", "o"], ["z"])]
    file = saved(tmp_path / "m.onnx", extra=bad, outputs=[("z", TensorProto.FLOAT, ["n", 6, 8, 8])])
    with pytest.raises(EngineError, match=r"features that are not finite .*: 96 in a:z@2"):
        run(faces, tmp_path / "c", own(file, "a:z@2"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"taps": "a:x@2"}, r"unknown tap 'a:x@2'; .*a:y"),
        ({"taps": "b:y@2"}, r"unknown tap 'b:y@2'"),
        ({"taps": "a:y@5,a:y@5"}, "given twice"),
        ({"taps": "a:y@9"}, "1 to 7 are possible"),
        ({"size": "96"}, "--size is 96, and no tap is of a built-in network; leave it out"),
        ({"size": "a=16"}, "--size names a; say it with --backbone-input a=size:224"),
    ],
)
def test_taps_and_sizes_that_do_not_fit(file, changed, said):
    with pytest.raises(SettingsError, match=said):
        plan_extraction(("image",), own(file, **changed))


def test_a_grid_finer_than_the_output(tmp_path):
    file = saved(tmp_path / "m.onnx", form="vector")
    with pytest.raises(SettingsError, match=r"grids finer than their layer: a:y@2 \(1×1 pixels at 16\)"):
        plan_extraction(("image",), own(file))


# What a run knows of the network, and where its file is found again


@pytest.fixture
def features(file):
    return features_of(plan_extraction(("image",), own(file)).spec, [TAP])


def test_a_run_finds_its_network_where_it_was_last(file, features, tmp_path):
    asked = extract_settings(features, ExtractSettings())
    assert plan_extraction(("image",), asked).spec["features"] == features
    moved = tmp_path / "elsewhere.onnx"
    os.rename(file, moved)
    sha256 = features["weights"]["a"]["sha256"]
    with pytest.raises(
        WeightsError, match=rf"its network a \(SHA-256 {sha256}\), and .*m.onnx, where it was last, is gon"
    ):
        extract_settings(features, ExtractSettings())
    saved(file, channels=5)
    with pytest.raises(
        WeightsError, match=r"where it was last, holds another; say where it is: --backbone a=FILE.onnx"
    ):
        extract_settings(features, ExtractSettings())
    for given in (ExtractSettings(backbone=(f"a={moved}",)), ExtractSettings(weights=str(tmp_path))):
        found = extract_settings(features, given)
        assert plan_extraction(("image",), found).spec["features"] == features
    assert recall(sha256) == moved
    assert plan_extraction(("image",), extract_settings(features, ExtractSettings())).spec["features"] == features


def test_a_run_refuses_other_networks_than_its_own(file, features, tmp_path):
    other = saved(tmp_path / "other.onnx", channels=5)
    sha256 = features["weights"]["a"]["sha256"]
    cases = {
        f"a={other}": (WeightsError, rf"SHA-256 {sha256}\), and .*other.onnx holds [0-9a-f]{{64}}; give that file"),
        f"a={tmp_path}/absent.onnx": (WeightsError, "absent.onnx cannot be read; give that file"),
        f"a={file}:z": (WeightsError, "by its output y, and not z; leave :z out"),
        f"b={file}": (SettingsError, "b is no network of the run; those that are not built in: a"),
    }
    for given, (kind, said) in cases.items():
        with pytest.raises(kind, match=said):
            extract_settings(features, ExtractSettings(backbone=(given,)))


def test_a_hash_that_is_a_path_leads_nowhere(features, file):
    """A run may come from anywhere."""
    features["weights"]["a"]["sha256"] = f"../../../..{file}"
    assert recall(features["weights"]["a"]["sha256"]) is None
    with pytest.raises(WeightsError, match="nobody remembers where it was"):
        extract_settings(features, ExtractSettings())


def test_data_that_was_exchanged_is_found_by_the_spec(tmp_path):
    file, data = tmp_path / "m.onnx", tmp_path / "m.data"
    onnx.save_model(onnx.load(saved(file)), file, save_as_external_data=True, location="m.data", size_threshold=0)
    features = features_of(plan_extraction(("image",), own(file)).spec, [TAP])
    data.write_bytes(data.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    asked = extract_settings(features, ExtractSettings())
    assert plan_extraction(("image",), asked).spec["features"] != features


def test_a_header_of_a_cache_holds_all_of_it(file, faces, tmp_path):
    run(faces, tmp_path / "c", own(file, limit=1))
    features = read_header(tmp_path / "c")["features"]
    entry = features["weights"]["a"]
    assert features["size"] == {"a": 16} and Path(file).is_file()
    assert entry | {"sha256": ""} == {
        "sha256": "",
        "family": "onnx",
        "output": "y",
        "form": "nchw",
        "layout": "nchw",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "order": "rgb",
        "range": 1.0,
    }


def test_a_configuration_names_backbones_in_lists(file, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(f'[extract]\ntaps = "{TAP}"\nbackbone = ["a={file}"]\nbackbone_input = ["{SIZED}"]\n')
    settings = resolve(ExtractSettings, "extract", config, {"backbone": None})
    assert [str(tap) for tap in plan_extraction(("image",), settings).taps] == [TAP]
    config.write_text("[extract]\nbackbone = [3]\n")
    with pytest.raises(SettingsError, match=r"backbone is \(3,\) and backbone_input None, expected lists of texts"):
        resolve(ExtractSettings, "extract", config, {})


def test_a_folder_whose_name_is_no_text(file, faces, tmp_path):
    """The configuration beside the cache names it, and leads back to it."""
    folder = tmp_path / "odd\udcff"
    folder.mkdir()
    moved = file.rename(folder / "m.onnx")
    run(faces, tmp_path / "c", own(moved, limit=1))
    again = resolve(ExtractSettings, "extract", tmp_path / "c" / "config.toml", {})
    assert again.backbone == (f"a={moved}",)
    assert run(faces, tmp_path / "c", again)["items_reused"] == 1
    features = features_of(read_header(tmp_path / "c"), [TAP])
    assert extract_settings(features, ExtractSettings()).backbone == (f"a={moved}:y",)
