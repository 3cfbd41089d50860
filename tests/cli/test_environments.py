"""Variables, folders and packages that users bring: a command does what it does without them, or says one sentence."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from support.paths import ROOT
from support.planted import planted_examples, write_cache
from support.untrained_run import write_run

from facedep_jax.cache.maintenance.verify import diff_caches
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

FAST = "--weights random:1 --taps mobilenet_v2:mid@1 --size 32"
EXTRACT = f"extract-features {{work}}/faces {FAST} --limit 4 --out {{out}}/cache"
TRAIN = "train-head {work}/planted --preset tiny --seeds 2 --epochs 2 --resamples 20 --baselines none --out {out}/run"
DRAW = "cache inspect {work}/planted --plot {out}/drawn.png"
COMPUTING = {
    "extract": EXTRACT,
    "extract by openvino": EXTRACT + " --engine openvino",  # which is compared with what jax computes
    "train-head": TRAIN,
    "train-cnn": "train-cnn {work}/faces --epochs 1 --out {out}/cnn",
    "evaluate": "evaluate {work}/run {work}/planted",
    "predict": "predict {work}/run {work}/face.png --weights random:1 --plot {out}/plots",
    "score-videos": "score-videos {work}/clips --head {work}/run --weights random:1 --out {out}/scores",
    "monitor": "monitor {work}/run --source {work}/clips/smiling.mp4 --weights random:1 --record {out}/record.csv",
    "export": "export {work}/run --weights random:1 --out {out}/run.onnx",
    "demo": "demo --out {out}/demo",
    "weights show": "weights show --weights random:1 --size 64",
}
HAS_CUDA = any(find_spec(f"jax_cuda{number}_plugin") for number in (12, 13))
# What jax would follow: other random numbers, other rounding, or an error from what is compiled.
FOLLOWED_BY_JAX = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DISABLE_JIT": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEBUG_INFS": "1",
    "JAX_TRANSFER_GUARD": "disallow",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Drawn faces and clips, a planted cache, and a run that nobody trained."""
    folder = tmp_path_factory.mktemp("work")
    draw_faces(folder / "faces", persons=2)
    draw_clips(folder / "clips")
    (folder / "face.png").write_bytes(next(folder.glob("faces/**/*.png")).read_bytes())
    write_cache(folder / "planted", planted_examples(40))
    write_run(folder / "run")
    return folder


@pytest.fixture(scope="module")
def usual(work, tmp_path_factory):
    """What extraction by xla, training and drawing leave in the usual environment."""
    out = tmp_path_factory.mktemp("usual")
    for line in (EXTRACT + " --engine xla", TRAIN, DRAW):
        assert cli(line, work, out, without=("MPLBACKEND",)).returncode == 0
    return out


def python(*arguments, cwd=ROOT, without=(), input=None, **variables):
    """Python in a process of its own, with `variables` and without others."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    path = os.pathsep.join(filter(None, (variables.pop("PYTHONPATH", ""), str(ROOT))))
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=kept | {"PYTHONPATH": path} | variables, cwd=cwd,
        capture_output=True, text=True, errors="replace", check=False, input=input,
    )  # fmt: skip


def cli(line, work, out, **how):
    """The command `line` with its folders; a traceback is never what comes of it."""
    result = python("-m", "facedep_jax", *(word.format(work=work, out=out) for word in line.split()), **how)
    assert "Traceback" not in result.stderr, result.stderr
    return result


def refusal(line, work, out, **how):
    """The one sentence that is all that comes of it."""
    result = cli(line, work, out, **how)
    assert result.returncode in (1, 2), result.stderr
    assert result.stdout == "" and list(out.iterdir()) == []
    [said] = result.stderr.splitlines()
    return said.removeprefix("error: ")


# Commands one after the other in one process, for each of which jax would be imported again: exit status and streams.
IN_TURN = """
import json, sys
from click.testing import CliRunner
from facedep_jax.cli import main
for line in json.load(sys.stdin):
    result = CliRunner().invoke(main, line)
    print(json.dumps([result.exit_code, result.stdout, result.stderr]), flush=True)
"""


@pytest.fixture(scope="module")
def without_device(work, tmp_path_factory):
    """What every command that computes ends with, and what it leaves, where jax has no device."""
    outs = {name: tmp_path_factory.mktemp("out") for name in COMPUTING}
    lines = [[word.format(work=work, out=outs[name]) for word in line.split()] for name, line in COMPUTING.items()]
    done = python("-c", IN_TURN, input=json.dumps(lines), JAX_PLATFORMS="cpuu")
    assert done.returncode == 0, done.stderr
    ends = map(json.loads, done.stdout.splitlines())
    return {name: (*end, list(outs[name].iterdir())) for name, end in zip(COMPUTING, ends, strict=True)}


@pytest.mark.parametrize("command", COMPUTING)
def test_a_device_that_is_not_there_is_one_sentence_of_every_command_that_computes(command, without_device):
    code, out, error, left = without_device[command]
    assert code in (1, 2) and out == "" and left == [], error
    [said] = error.splitlines()
    assert said.startswith("error: no cpuu that jax can use here") and "unset JAX_PLATFORMS" in said


@pytest.mark.parametrize("platform", ["cuda", "gpu", "tpu"])
def test_a_platform_without_its_device_says_what_to_install(platform, work, tmp_path):
    if platform != "tpu" and HAS_CUDA:
        pytest.skip("jax's plug-in for CUDA is installed")
    said = refusal(TRAIN, work, tmp_path, JAX_PLATFORMS=platform)
    assert said.startswith(f"no {platform} that jax can use here; pip install '") and "unset JAX_PLATFORMS" in said


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("XLA_FLAGS", "--xla_nonsense=1", "Unknown flag in XLA_FLAGS: --xla_nonsense=1"),
        ("XLA_FLAGS", "no_such_file", 'Could not open file "no_such_file"'),
        ("JAX_ENABLE_X64", "maybe", "'maybe' for environment 'JAX_ENABLE_X64'; correct that variable or unset it"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "nonsense", "JAX flag jax_default_matmul_precision; correct that variable"),
    ],
)
def test_variables_that_nobody_can_mean_are_one_sentence(variable, value, expected, work, tmp_path):
    assert expected in refusal(EXTRACT, work, tmp_path, **{variable: value})


def test_flags_that_xla_knows_are_followed(work, tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    result = cli(EXTRACT + " --engine xla", work, tmp_path, XLA_FLAGS=flags)
    assert result.returncode == 0 and "2 × cpu" in result.stderr


@pytest.mark.parametrize("version", ["0.4.1", "99.0.0", None])
def test_a_foreign_jaxlib_is_named_with_its_place(version, work, tmp_path):
    foreign, out = tmp_path / "foreign", tmp_path / "out"
    (foreign / "jaxlib").mkdir(parents=True)
    out.mkdir()
    (foreign / "jaxlib" / "__init__.py").touch()
    if version:
        (foreign / "jaxlib" / "version.py").write_text(f"__version__ = {version!r}\n")
    said = refusal(TRAIN, work, out, PYTHONPATH=str(foreign))
    assert f"jaxlib {version or 'of an unknown version'} in {foreign}," in said
    assert f"jax {python('-c', 'import jax; print(jax.__version__)').stdout.strip()} in " in said
    assert "look at PYTHONPATH" in said


@pytest.mark.parametrize("line", [EXTRACT + " --engine xla", TRAIN], ids=["extract", "train"])
def test_variables_of_jax_change_no_number_and_one_line_says_so(line, work, usual, tmp_path):
    result = cli(line, work, tmp_path, **FOLLOWED_BY_JAX)
    assert result.returncode == 0, result.stderr
    [said] = [line for line in result.stderr.splitlines() if "not followed" in line]
    assert all(f"{name}={value}" in said for name, value in FOLLOWED_BY_JAX.items())
    if line == TRAIN:
        head = "run/head.safetensors"
        assert (tmp_path / head).read_bytes() == (usual / head).read_bytes()
    else:
        assert diff_caches(tmp_path / "cache", usual / "cache")["equal"]


@pytest.mark.parametrize(
    "backend",
    ["module://matplotlib_inline.backend_inline", "nonsense", pytest.param("svg", marks=pytest.mark.exhaustive)],
)
def test_pictures_are_drawn_whatever_backend_is_named(backend, work, usual, tmp_path):
    assert cli(DRAW, work, tmp_path, MPLBACKEND=backend).returncode == 0
    assert (tmp_path / "drawn.png").read_bytes() == (usual / "drawn.png").read_bytes()


def test_a_backend_that_is_there_stays_the_notebook_s_own():
    code = "import facedep_jax.report, matplotlib, os; print(matplotlib.get_backend(), os.environ['MPLBACKEND'])"
    assert python("-c", code, MPLBACKEND="svg").stdout.split() == ["svg", "svg"]


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NOWHERE = {"HOME": "/proc/nowhere"}
BOGUS = {"TMPDIR": "/nowhere", "OMP_NUM_THREADS": "bogus"}


@pytest.mark.parametrize(
    ("variables", "without"),
    [
        (ASCII | NOWHERE | BOGUS, ("FACEDEP_CACHE", "XDG_CACHE_HOME")),
        pytest.param({"PYTHONOPTIMIZE": "2"}, (), marks=pytest.mark.exhaustive),
        pytest.param(ASCII, (), marks=pytest.mark.exhaustive),
        pytest.param(NOWHERE, ("FACEDEP_CACHE", "XDG_CACHE_HOME"), marks=pytest.mark.exhaustive),
        pytest.param(
            {"JAX_COMPILATION_CACHE_DIR": os.devnull + "/nowhere"},
            ("HOME", "FACEDEP_CACHE"),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(BOGUS, (), marks=pytest.mark.exhaustive),
    ],
    ids=lambda value: ",".join(value),
)
def test_the_same_is_extracted(variables, without, work, usual, tmp_path):
    result = cli(EXTRACT + " --engine xla", work, tmp_path, without=without, **variables)
    assert result.returncode == 0, result.stderr
    assert diff_caches(tmp_path / "cache", usual / "cache")["equal"]


def test_workers_say_nothing_twice_and_need_no_folder_of_the_user(work, usual, tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed (extra: cluster) is not installed")
    line = EXTRACT + " --engine xla --workers 2"
    result = cli(line, work, tmp_path, FACEDEP_CACHE="/proc/nowhere", **FOLLOWED_BY_JAX)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("not followed") == 1
    assert diff_caches(tmp_path / "cache", usual / "cache")["equal"]


def test_a_folder_that_cannot_be_written_is_one_sentence(work, tmp_path):
    result = cli(EXTRACT.replace("{out}/cache", "cache"), work, tmp_path, cwd="/proc")
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and "cache/shards cannot be written" in said[0]


def test_without_docstrings_help_says_what_scores_mean_and_why_the_rest_is_missing():
    assert "It is not a diagnosis" in " ".join(python("-OO", "-m", "facedep_jax", "--help").stdout.split())
    said = " ".join(python("-OO", "-m", "facedep_jax", "train-head", "--help").stdout.split())
    assert "PYTHONOPTIMIZE=2" in said and "--preset" in said
