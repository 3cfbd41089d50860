"""The benchmark: its arithmetic by hand, its report of what is absent, and small runs that are whole."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support.paths import ROOT

from facedep_jax.errors import EngineError, SettingsError

TOOLS = ROOT / "tools"
SMALL = ["--size", "32", "--batch-size", "2", "--rounds", "2", "--json"]
# As `python tools/bench.py`, in a Python in which onnxruntime cannot be imported.
WITHOUT_ONNXRUNTIME = (
    "import runpy, sys; sys.modules['onnxruntime'] = None; "
    f"runpy.run_path({str(TOOLS / 'bench.py')!r}, run_name='__main__')"
)


def bench(*arguments, program=(str(TOOLS / "bench.py"),), code=0):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{TOOLS}"}
    done = subprocess.run([sys.executable, *program, *arguments], env=environment, text=True, capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture
def tool(monkeypatch):
    """What a part of the benchmark defines, imported as the program itself imports it."""
    monkeypatch.syspath_prepend(TOOLS)
    return lambda name: vars(importlib.import_module(f"benchmark.{name}"))


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed (extra: bench): {', '.join(missing)}")


# By hand


def test_ratios_are_medians_of_ratios_within_rounds(tool):
    rounds = tool("rounds")
    row = rounds["Row"]("a / b", "a", "b", 0.9)
    # Ratios 0.5, 2 and 1: their median is 1, where the ratio of the medians (20 / 10) would be 2.
    measured = [{"a": 5.0, "b": 10.0}, {"a": 20.0, "b": 10.0}, {"a": 30.0, "b": 30.0}]
    found = rounds["ratio"](row, [measured], False)
    assert (found["ratio"], found["low"], found["high"]) == (1.0, 0.75, 1.5)
    assert found["reached"]
    assert found["rounds"] == 3
    assert not rounds["ratio"](rounds["Row"]("a / b", "a", "b", 1.01), [measured], False)["reached"]


def test_no_ratio_of_what_did_not_take_turns_together(tool):
    rounds = tool("rounds")
    row = rounds["Row"]("a / b", "a", "b", 0.9)
    apart = rounds["ratio"](row, [[{"a": 1.0}], [{"b": 1.0}]], False)
    assert apart["ratio"] is None and apart["reached"] is None
    assert "never in the same rounds" in apart["why"]
    assert "not measured: b" in rounds["ratio"](row, [[{"a": 1.0}], []], False)["why"]
    assert "too few images" in rounds["ratio"](row, [[{"a": None, "b": 1.0}]], False)["why"]
    elsewhere = rounds["Row"]("a / b", "a", "b", 0.9, "accelerator")
    assert "accelerator only" in rounds["ratio"](elsewhere, [[{"a": 1.0, "b": 1.0}]], False)["why"]
    assert rounds["ratio"](elsewhere, [[{"a": 1.0, "b": 1.0}]], True)["ratio"] == 1.0


def test_start_up_and_work_are_told_apart(tool):
    split_up = tool("files")["split_up"]
    # 64 images in 9 s, 256 in 15 s: 192 images more in 6 s more, so 32 a second after 7 s of start-up.
    assert split_up(64, 9.0, 256, 15.0) == {"whole": 256 / 15, "marginal": 32.0, "start_up": 7.0}
    assert split_up(2, 5.0, 8, 4.9)["marginal"] is None


def test_nobody_always_follows_the_same_one(tool):
    in_order = tool("rounds")["in_order"]
    names = ["a", "b", "c", "d"]
    orders = [in_order(names, number) for number in range(4)]
    assert all(sorted(order) == names for order in orders)
    assert len({order[0] for order in orders}) > 1
    for name in names:
        assert len({order[order.index(name) - 1] for order in orders if order[0] != name}) > 1


def test_turns_alternate_and_end_in_time(tool, capsys):
    rounds, taken = tool("rounds"), []
    turns = {name: lambda name=name: taken.append(name) or {name: 1.0} for name in "ab"}
    assert len(rounds["alternate"](turns, 3, float("inf"))) == 3
    assert taken == ["a", "b", "a", "b", "a", "b"]
    assert len(rounds["alternate"](turns, 3, float("-inf"))) == 1
    assert "; a 1, b 1\n" in capsys.readouterr().err  # what was measured is told even if the program is ended later


def test_other_work_is_refused(tool):
    check = tool("contenders")["check_outputs"]
    rng = np.random.default_rng(0)
    right = {"mobilenet_v2:top@1": rng.random((2, 1280)), "resnet50:top@1": rng.random((2, 2048))}
    other = {tap: values[::-1] for tap, values in right.items()}
    check({"torch/eager/float32": right, "graph/onnxruntime/float32": right, "keras/jax/float32": other}, 2)
    with pytest.raises(EngineError, match=r"graph/onnxruntime/float32 and torch/eager/float32 have the same weights"):
        check({"torch/eager/float32": right, "graph/onnxruntime/float32": other}, 2)
    with pytest.raises(EngineError, match=r"keras/jax/float32 computed .*\(2, 1280\)"):
        check({"keras/jax/float32": {tap: values[:, :1280] for tap, values in right.items()}}, 2)


def test_the_pictures_are_like_photographs_and_all_different(tool, tmp_path):
    files = tool("files")
    setup = tool("peers")["Setup"](224, 2, 2, False, tmp_path)
    files["draw_pictures"](setup, 4)
    data = [file.read_bytes() for file in sorted((tmp_path / "pictures").iterdir())]
    assert len(set(data)) == 4
    assert all(20_000 < len(each) < 40_000 for each in data)


def test_contenders_are_chosen_by_pattern(tool):
    choose = tool("contenders")["choose"]
    chosen, left_out = choose(["ours/*"], ["*/files/*", "ours/mid/*"])
    openvino = [f"ours/openvino/{precision}" for precision in ("int8", "bfloat16", "float32")]
    assert chosen == [*openvino, "ours/xla/float32", "ours/xla/bfloat16"]
    assert left_out["ours/files/float32"] == "left out by --skip"
    assert left_out["keras/jax/float32"] == "left out by --only"
    with pytest.raises(SettingsError, match="no contender is called 'theirs/"):
        choose(["theirs/*"], [])
    with pytest.raises(SettingsError, match="leave no contender"):
        choose(["ours/*"], ["*"])


def test_who_is_called_by_two_threads_has_two_calls_at_once(tool):
    """Each call waits for another to be under way: by one thread none ever would be."""
    meet = threading.Barrier(2)
    assert tool("rounds")["batches_timed"]("a", lambda: meet.wait(20), 6, 10, 2)["a"] > 0
    meet = threading.Barrier(2)
    with pytest.raises(threading.BrokenBarrierError):
        tool("rounds")["batches_timed"]("a", lambda: meet.wait(0.2), 2, 10)


def test_who_only_waits_is_called_by_two_threads(tool):
    tool("rounds")  # puts the folder of programs on the path
    assert importlib.import_module("bench").best_at_once(lambda: time.sleep(0.01)) == 2


# The program


def test_ours_is_measured_whole_and_an_absent_peer_is_named():
    ours = ("ours/xla/float32", "ours/mid/float32", "ours/files/float32")
    only = [word for name in (*ours, "graph/onnxruntime/*") for word in ("--only", name)]
    result = bench(*only, "--images", "8", *SMALL, program=("-c", WITHOUT_ONNXRUNTIME))
    assert set(result) == {
        "device", "cores", "versions", "size", "batch_size", "auto", "at_once", "memory_kept", "rounds", "rates",
        "files", "absent", "ratios", "sweep", "seconds", "peak_memory_mb",
    }  # fmt: skip
    assert set(result["rates"]) == {"ours/xla/float32", "ours/mid/float32"}
    assert result["at_once"] == {"ours/xla/float32": 1, "ours/mid/float32": 1}
    assert all(rate["low"] <= rate["median"] <= rate["high"] for rate in result["rates"].values())
    assert result["files"]["ours/files/float32"]["images"] == 8
    assert result["files"]["ours/files/float32"]["whole"]["median"] > 0
    assert result["rounds"]["device"] == 2
    assert result["absent"]["keras/jax/float32"] == "left out by --only"
    fields = {"name", "over", "under", "target", "ratio", "low", "high", "rounds", "reached", "why"}
    assert all(set(row) == fields for row in result["ratios"])
    assert "onnxruntime is not installed" in result["absent"]["graph/onnxruntime/float32"]
    row = next(row for row in result["ratios"] if "ONNX Runtime" in row["name"])
    assert row["ratio"] is None
    assert "graph/onnxruntime/float32" in row["why"]


def test_where_no_contender_is_left_that_is_an_error():
    told = bench("--only", "graph/onnxruntime/*", *SMALL, program=("-c", WITHOUT_ONNXRUNTIME), code=2)
    assert "no contender is left" in told and "onnxruntime is not installed" in told


@needs("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "PIL")
def test_peers_compute_the_same_and_are_measured():
    only = [
        part
        for name in ("torch/eager/*", "torch/untuned/*", "graph/*", "torch/files/float32")
        for part in ("--only", name)
    ]
    result = bench(*only, "--images", "8", *SMALL)
    assert {
        "torch/eager/float32",
        "torch/untuned/float32",
        "graph/onnxruntime/float32",
        "graph/openvino/float32",
    } <= set(result["rates"])
    assert result["files"]["torch/files/float32"]["whole"]["median"] > 0


@pytest.mark.exhaustive
@needs("openvino")
def test_sweep_draws_and_tells_its_numbers(tmp_path):
    picture = tmp_path / "sweep.png"
    result = bench("--only", "ours/openvino/float32", "--sweep", str(picture), *SMALL)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(result["sweep"]["batch_size"]["ours/openvino/float32"]) == ["1", "4", "8", "16", "32", "64"]
    assert result["sweep"]["images"] == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nobody"], "no contender is called 'nobody'"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--size", "100"], "--size is 100, expected a multiple of 32"),
        (["--images", "1"], "--images is 1"),
        (["--sweep", "a.jpg"], "ends in .png"),
        (["--sweep", "a.png", "--only", "keras/*"], "--sweep draws ours"),
    ],
)
def test_what_cannot_be_meant_is_an_error(arguments, said):
    assert said in bench(*arguments, code=2)
