"""An engine is believed only after its first batch agrees with XLA float32."""

from types import SimpleNamespace

import numpy as np
import pytest

from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Note

TAPS = parse_taps("mobilenet_v2:mid@1")
SIZES = {"mobilenet_v2": 32}
CROPS = {"mobilenet_v2": np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)}


@pytest.fixture(scope="module")
def xla():
    return load_engine("xla", find_weights("random:1", ["mobilenet_v2"]), TAPS, SIZES, "float32", 2)


class Spoilt(SimpleNamespace):
    """The real engine with its features turned by an angle; counts its calls."""

    def __call__(self, crops):
        self.calls += 1
        features = self.real(crops)
        return {
            tap: (v.astype(np.float32) + self.spoil * np.roll(v, 7, -1)).astype(np.float16)
            for tap, v in features.items()
        }


def spoilt(xla, spoil, precision="float32"):
    return Spoilt(real=xla, spoil=spoil, calls=0, name="quick", version="1", device="here", precision=precision)


def test_an_engine_that_agrees_is_used_and_compared_once(xla):
    notes, references = [], []
    engine = CheckedEngine(spoilt(xla, 0.0), lambda: references.append(1) or xla, True, notes.append)
    for _ in range(3):
        engine(CROPS)
    assert (len(references), engine.calls, engine.name) == (1, 3, "quick")
    assert [note.level for note in notes] == ["info"]


def test_auto_moves_on_to_xla_and_says_so(xla):
    notes: list[Note] = []
    engine = CheckedEngine(spoilt(xla, 0.3), lambda: xla, False, notes.append)
    first = engine(CROPS)
    np.testing.assert_array_equal(first["mobilenet_v2:mid@1"], xla(CROPS)["mobilenet_v2:mid@1"])
    assert engine.name == "xla"
    assert notes[0].level == "warning" and "going on with xla" in notes[0].text


def test_an_engine_asked_for_by_name_is_an_error(xla):
    with pytest.raises(EngineError, match=r"quick float32 agrees .* 0\.9999 is needed"):
        CheckedEngine(spoilt(xla, 0.3), lambda: xla, True)(CROPS)


def test_xla_float32_is_its_own_reference(xla):
    engine = CheckedEngine(xla, lambda: pytest.fail("no second engine is needed"), True)
    assert engine(CROPS).keys() == {"mobilenet_v2:mid@1"}
