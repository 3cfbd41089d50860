"""What a head in use has to wait for: programs that compile, and libraries that load."""

import os
import subprocess
import sys
from contextlib import contextmanager

import jax
import numpy as np
from scipy.special import logsumexp
from support.paths import ROOT
from support.untrained_run import untrained_head, write_run

from facedep_jax.head.batched_forward import CPU_FRAMES, proxy_logits
from facedep_jax.runs.run_directory import load_head

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compiled():
    """The programs that are compiled, or fetched from where they are kept, meanwhile."""
    found = []

    def note(event, duration, **_):
        found.extend([event] * (event == _COMPILED))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def _tokens(head, count):
    rng = np.random.default_rng(count)
    inputs = head.architecture.inputs
    return {
        tap: rng.normal(size=(count, side, side, width)).astype(np.float16)
        for tap, side, width in zip(inputs.taps, inputs.cells, inputs.channels, strict=True)
    }


def test_one_program_serves_the_probe_of_a_loaded_head_and_any_number_of_frames(tmp_path):
    run = write_run(tmp_path / "run", target="emotion")
    jax.clear_caches()
    with compiled() as loading:
        head = load_head(run)
    with compiled() as applying:
        for count in (1, CPU_FRAMES, 2 * CPU_FRAMES + 7):
            head.by_emotion(head.frame_classes(_tokens(head, count)))
            head.frame_logits(_tokens(head, count))
    assert (len(loading), len(applying)) == (1, 0)  # for the probe, which shares it


def test_frames_are_judged_alike_however_many_come_together():
    head = untrained_head(classes=("happy", "neutral", "sad"))
    tokens = _tokens(head, 2 * CPU_FRAMES + 7)
    alone = [
        head.frame_classes({tap: x[[row]] for tap, x in tokens.items()}) for row in range(len(tokens[head.taps[0]]))
    ]
    np.testing.assert_allclose(head.frame_classes(tokens), np.concatenate(alone, 1), atol=1e-6)
    found = head.attention(tokens)
    assert found.shape == (2 * CPU_FRAMES + 7, head.architecture.inputs.tokens)
    np.testing.assert_allclose(found[-1:], head.attention({tap: x[-1:] for tap, x in tokens.items()}), atol=1e-6)


def test_log_odds_by_hand():
    """2 : 1 + 1 for the first; where one side has no class it is certain, and where nobody looked nothing is known."""
    logits = np.log(np.array([[[2.0, 1.0, 1.0], [1.0, 3.0, 5.0]]], np.float32))
    found = proxy_logits(logits, np.array([True, False, False]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.0, -np.log(8)]], atol=1e-6)
    assert (proxy_logits(logits, np.ones(3, bool)) == np.inf).all()
    huge = np.array([[[1000.0, 0.0, 999.0]]], np.float32)
    expected = 1000 - logsumexp([0.0, 999.0])
    np.testing.assert_allclose(proxy_logits(huge, np.array([True, False, False])), [[expected]], rtol=1e-6)
    assert np.isnan(proxy_logits(np.full((1, 1, 3), np.nan, np.float32), np.array([True, False, False]))).all()


def test_a_command_keeps_the_program_of_the_head_and_loads_no_statistics(tmp_path):
    """The second start finds it; what only training and evaluation compute with is not waited for."""
    run, kept = write_run(tmp_path / "run", target="emotion"), tmp_path / "user" / "xla"
    code = (
        "import sys, numpy as np\n"
        "from facedep_jax.jax_environment import prepare_jax\n"
        "prepare_jax(lambda event: sys.exit(str(event)))\n"
        "from facedep_jax.runs.run_directory import load_head\n"
        f"head = load_head({str(run)!r})\n"
        "inputs = head.architecture.inputs\n"
        "sides = zip(inputs.taps, inputs.cells, inputs.channels)\n"
        "head.frame_logits({t: np.zeros((3, s, s, c), np.float16) for t, s, c in sides})\n"
        "sys.exit('scipy' if 'scipy' in sys.modules else 0)"
    )
    environment = os.environ | {"FACEDEP_CACHE": str(kept.parent), "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert not done.stderr.strip(), done.stderr
        assert [path.name.split("-")[0] for path in kept.iterdir()] == ["jit__predict"]
