"""Runs from strangers: whatever their files say, the head is loaded, or one sentence names the file and its fault."""

import os
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import tomli_w
from safetensors.numpy import load_file, save_file
from support.untrained_run import write_run

from facedep_jax.errors import RunError
from facedep_jax.head.trained_head import Validation
from facedep_jax.runs.run_directory import load_head, write_head
from facedep_jax.runs.run_record import read_config

CLASSES = ("happy", "neutral", "sad")
GONE = object()
LARGE = 10**4000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a head over emotions, with the items that it was calibrated on."""
    folder = write_run(tmp_path_factory.mktemp("made") / "run", target="emotion")
    head, tables = load_head(folder), read_config(folder).tables
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (head.members, 6, 2, 3)).astype(np.float32)
    logits[:, 1, 1] = np.nan  # an item of one frame
    head = replace(head, validation=Validation(logits, np.arange(6, dtype=np.int32) % 3))
    write_head(folder, head, tables["train"], tables["cache"], tables["run"]["data"])
    return folder


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def change(run, place, value):
    """The run with another value at `place`, such as `run.scale`."""
    tables = tomllib.loads((run / "config.toml").read_text())
    *path, last = place.split("/")
    table = tables
    for name in path:
        table = table[name]
    if value is GONE:
        del table[last]
    else:
        table[last] = value
    text = tomli_w.dumps(tables) if value != LARGE else tomli_w.dumps(tables | {}).replace(str(LARGE), "9" * 4000)
    (run / "config.toml").write_text(text)


def refused(run, said):
    with pytest.raises(RunError, match=said) as caught:
        load_head(run)
    assert "\n" not in str(caught.value) and str(run) in str(caught.value)


def test_a_run_as_it_was_written_is_read(run):
    head = load_head(run)
    assert head.classes == CLASSES and head.validation is not None and head.with_positive(["sad"]).calibration


NUMBERS = (float("nan"), float("inf"), "1", [1.0], {"a": 1}, True, GONE)


@pytest.mark.parametrize("value", [*NUMBERS, 0, -1, 1e300], ids=lambda value: "gone" if value is GONE else repr(value))
def test_a_scale_that_is_no_finite_number_above_zero(run, value):
    change(run, "run/scale", value)
    refused(run, r"config\.toml cannot be meant: run\.scale")


@pytest.mark.parametrize("value", [*NUMBERS, -0.1, 1.5], ids=lambda value: "gone" if value is GONE else repr(value))
def test_a_threshold_that_is_no_part(run, value):
    change(run, "run/threshold", value)
    refused(run, r"config\.toml cannot be meant: run\.threshold")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("run/cells", [0, 1]), ("run/cells", ["3", 1]), ("run/cells", 3), ("run/cells", [3]), ("run/cells", [3, 7]),
        ("run/channels", [-576, 1280]), ("run/channels", [10**9, 1280]), ("run/channels", [576]),
        ("run/channels", [577, 1280]), ("run/channels", {"a": 1}),
        ("run/taps", []), ("run/taps", "mobilenet_v2:mid@3"), ("run/taps", ["mobilenet_v2:mid@3"] * 2),
        ("run/classes", []), ("run/classes", ["a"]), ("run/classes", ["sad", "sad", "happy"]),
        ("run/classes", [1, 2, 3]),
        ("run/positive", [True] * 3), ("run/positive", [False, True]), ("run/positive", [0, 1, 1]),
        ("run/measured", [7]), ("run/measured", [-1]), ("run/untrained", "no"), ("run/doubt", 3), ("run/bias", "0"),
        ("run/data", 3), ("run/kind", "cnn"), ("run", 3), ("run", GONE), ("train", []), ("train", GONE),
        ("train/resamples", -1), ("train/resamples", 10**9), ("train/resamples", 2.5), ("train/resamples", GONE),
        ("train/seed", "0"), ("train/seed", -1), ("train/seed", 2**31), ("train/seed", LARGE),
        ("train/preset", "huge"), ("train/temporal", "lstm"), ("train/pooling", 3), ("train/window", -1.0),
        ("train/window", float("nan")), ("train/positive", "sad"), ("train/labels", 3), ("train/aliases", [1]),
        ("cache", []), ("cache", GONE), ("cache/paths", 3), ("cache/fingerprints", []), ("cache/fingerprints", [1]),
        ("cache/features", 3), ("cache/features", GONE), ("cache/features/taps", []), ("cache/features/channels", {}),
        ("cache/features/weights", {}), ("cache/features/weights", 3), ("cache/features/size", {}),
        ("cache/features/weights/mobilenet_v2", {"family": "keras"}),
        ("cache/features/weights/mobilenet_v2/sha256", "../x"),
        ("cache/features/size/mobilenet_v2", -64), ("cache/features/size/mobilenet_v2", "64"),
        ("cache/features/color", 3), ("cache/features/precision", GONE),
        ("cache/input", 3), ("cache/input/image", 3), ("cache/input/image/faces", 3),
        ("cache/input/image/margin", "x"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_meant_is_refused_by_its_field(run, place, value):
    change(run, place, value)
    refused(
        run, "is the run of a CNN" if value == "cnn" else rf"config\.toml cannot be meant: .*{place.split('/')[-1]}"
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be meant: train is missing; run is missing; cache is missing"),
        ("a = " + "[" * 9000, "nested too deeply"),
        (".".join("a" * 9000) + "=1", "nested too deeply"),
        ("[run]\nscale = " + "9" * 5000, "is not TOML"),
        ("\0" * 3000, "is not TOML"),
        ("run = 1", "run is 1, expected a table"),
        ("# " + "x" * 2**20, "expected at most 1,048,576"),
    ],
    ids=range(7),
)
def test_a_config_that_is_none_is_refused(run, text, said):
    (run / "config.toml").write_text(text)
    refused(run, rf"config\.toml .*{said}")


def test_a_later_format_is_named(run):
    change(run, "run/format", 2)
    refused(run, "has format 2, this program reads 1; update")


def test_problems_are_collected(run):
    change(run, "run/scale", "x")
    change(run, "train/seed", "x")
    refused(run, r"train\.seed is 'x'.*; run\.scale is 'x'")


def altered(arrays, name):
    first = next(iter(arrays))
    changes = {
        "NaN": lambda: arrays[first].fill(np.nan),
        "infinite": lambda: arrays[first].fill(np.inf),
        "no members": lambda: arrays.update({key: x[:0] for key, x in arrays.items()}),
        "fewer members of one": lambda: arrays.update({first: arrays[first][:1]}),
        "no axis": lambda: arrays.update({first: np.array(1, np.float32)}),
        "half floats": lambda: arrays.update({first: arrays[first].astype(np.float16)}),
        "integers": lambda: arrays.update({first: arrays[first].astype(np.int64)}),
        "one more": lambda: arrays.update({"more": arrays[first]}),
        "one fewer": lambda: arrays.pop(first),
        "nothing": arrays.clear,
        "a thousand million members of nothing": lambda: arrays.update({first: np.zeros((10**9, 0), np.float32)}),
        "weights that overflow": lambda: arrays.update({key: x * np.float32(1e30) for key, x in arrays.items()}),
    }
    changes[name]()
    return arrays


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NaN", "is not finite"), ("infinite", "is not finite"), ("no members", "holds no members"),
        ("fewer members of one", "holds no members, or not the same"), ("no axis", "holds no members"),
        ("half floats", "is F16"), ("integers", "is I64"), ("one more", "more is not part of the head"),
        ("one fewer", "is missing"), ("nothing", "holds no members"),
        ("a thousand million members of nothing", "holds no members, or not the same"),
        ("weights that overflow", "no finite logits"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_applied_is_refused(run, name, said):
    save_file(altered(load_file(run / "head.safetensors"), name), run / "head.safetensors")
    refused(run, rf"is damaged: .*head\.safetensors .*{said}")


def test_a_head_of_float8_is_refused(run):
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    (run / "head.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    refused(run, r"a is F8_E4M3")


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\0" * 4000, (2**60).to_bytes(8, "little") + b"{}"], ids=len)
def test_a_head_that_is_no_safetensors_is_refused(run, content):
    (run / "head.safetensors").write_bytes(content)
    refused(run, r"head\.safetensors is no safetensors file")


@pytest.mark.parametrize(
    ("name", "change_it", "said"),
    [
        ("classes out of range", lambda a: a["target"].fill(3), "none of the 3 classes"),
        ("negative classes", lambda a: a["target"].fill(-1), "none of the 3 classes"),
        ("infinite", lambda a: a["logits"].fill(np.inf), "without a finite logit"),
        ("an item of NaN", lambda a: a["logits"][:, 2].fill(np.nan), "without a finite logit"),
        ("fewer items", lambda a: a.update(target=a["target"][:3]), "of the same items"),
        ("no items", lambda a: a.update(target=a["target"][:0], logits=a["logits"][:, :0]), "of the same items"),
        ("other members", lambda a: a.update(logits=a["logits"][:1]), "of the same items"),
        ("flat", lambda a: a.update(logits=a["logits"].reshape(-1)), "of the same items"),
        ("another name", lambda a: a.update(more=a.pop("target")), "expected logits and target"),
        ("float classes", lambda a: a.update(target=a["target"].astype(np.float32)), "none of the 3 classes"),
    ],
)
def test_a_validation_that_cannot_be_the_heads_is_refused(run, name, change_it, said):
    arrays = load_file(run / "validation.safetensors")
    change_it(arrays)
    save_file({key: np.ascontiguousarray(x) for key, x in arrays.items()}, run / "validation.safetensors")
    refused(run, rf"validation\.safetensors .*{said}")


def sparse(path):
    path.touch()
    os.truncate(path, 20 * 10**9)


IN_PLACE = {
    "named pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to another file": lambda path: path.symlink_to("/etc/hostname"),
    "folder": os.mkdir,
    "sparse": sparse,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["config.toml", "head.safetensors", "validation.safetensors"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_is_no_plain_file_is_refused_at_once(run, name, kind):
    (run / name).unlink()
    IN_PLACE[kind](run / name)
    refused(run, rf"{name} (is a|has 20,000,000,000 bytes)")
