"""An engine is believed only after its first batch agrees with XLA float32."""

from types import SimpleNamespace

import numpy as np
import pytest

from facedep_jax.backbones import known_verdicts
from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.known_verdicts import KnownVerdict, Verdict
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Note, Waiting

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
    said = {"name": "quick", "version": "1", "device": "here", "precision": precision, "batch_size": xla.batch_size}
    return Spoilt(real=xla, spoil=spoil, calls=0, **said)


def test_an_engine_that_agrees_is_used_and_compared_once(xla):
    notes, references = [], []
    engine = CheckedEngine(spoilt(xla, 0.0), lambda: references.append(1) or xla, True, notes.append)
    for _ in range(3):
        engine(CROPS)
    assert (len(references), engine.calls, engine.name) == (1, 3, "quick")
    assert [type(event) for event in notes] == [Waiting, Note] and notes[1].level == "info"


def test_judged_by_other_pictures_it_is_compared_on_all_of_them_and_the_first_batch_is_only_told(xla):
    notes: list[Note] = []
    many = {"mobilenet_v2": np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)}
    engine = CheckedEngine(spoilt(xla, 0.0), lambda: xla, False, notes.append)
    engine.judge(lambda: many)
    assert engine.calls == 3 and "5 drawn faces" in notes[1].text
    engine._engine.spoil = 0.9
    np.testing.assert_array_equal(engine(CROPS)["mobilenet_v2:mid@1"], engine._engine(CROPS)["mobilenet_v2:mid@1"])
    assert notes[2].level == "warning" and "of the first 2 images the worst agrees with xla float32" in notes[2].text
    engine(CROPS)
    assert len(notes) == 3
    with pytest.raises(EngineError, match=r"5 drawn faces\), 0\.9999 is needed; extract in float32"):
        CheckedEngine(spoilt(xla, 0.3), lambda: xla, False).judge(lambda: many)


def test_auto_moves_on_to_xla_and_says_so(xla):
    notes: list[Note] = []
    engine = CheckedEngine(spoilt(xla, 0.3), lambda: xla, False, notes.append)
    first = engine(CROPS)
    np.testing.assert_array_equal(first["mobilenet_v2:mid@1"], xla(CROPS)["mobilenet_v2:mid@1"])
    assert engine.name == "xla"
    assert notes[1].level == "warning" and "going on with xla" in notes[1].text


def test_an_engine_asked_for_by_name_is_an_error(xla):
    with pytest.raises(EngineError, match=r"quick float32 agrees .* 0\.9999 is needed"):
        CheckedEngine(spoilt(xla, 0.3), lambda: xla, True)(CROPS)


def test_xla_float32_is_its_own_reference(xla):
    engine = CheckedEngine(xla, lambda: pytest.fail("no second engine is needed"), True)
    assert engine(CROPS).keys() == {"mobilenet_v2:mid@1"}


@pytest.fixture
def known(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path))
    return KnownVerdict({"weights": "a", "engine": "quick"})


def compared(xla, known, spoil=0.0, named=True):
    """How often a new process would compare, and what it says."""
    notes, references = [], []
    CheckedEngine(spoilt(xla, spoil), lambda: references.append(1) or xla, named, notes.append, known)(CROPS)
    return len(references), [note.text for note in notes if isinstance(note, Note)]


def test_a_verdict_is_remembered_for_its_terms_and_said(xla, known, monkeypatch):
    first, (said,) = compared(xla, known)
    again, (remembered,) = compared(xla, known)
    assert (first, again) == (1, 0)
    assert remembered == f"{said}; compared on {known.recall().date}, and again 30 days later"
    assert compared(xla, KnownVerdict({**known.terms, "engine": "other"}))[0] == 1
    monkeypatch.setattr(known_verdicts, "_code", lambda: "changed")
    assert compared(xla, KnownVerdict(known.terms))[0] == 1


def test_what_did_not_agree_is_compared_again(xla, known):
    for _ in range(2):
        assert compared(xla, known, spoil=0.3, named=False)[0] == 1


@pytest.mark.parametrize("age", [-1, 30])
def test_an_old_verdict_or_one_of_the_future_does_not_hold(xla, known, age):
    verdict = Verdict("agreed")
    assert known.keep(Verdict("agreed", verdict.when - age * 86400.0 - 60 * (age < 0))) is None
    assert known.recall() is None and compared(xla, known)[0] == 1 and compared(xla, known)[0] == 0


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"said": 3, "when": 1}', b'{"said": "x", "when": "y"}'])
def test_a_verdict_that_cannot_be_read_is_none(known, content):
    known.keep(Verdict("agreed"))
    (file,) = known._file.parent.iterdir()
    file.write_bytes(content)
    assert known.recall() is None


def test_that_a_verdict_cannot_be_kept_is_said(xla, known, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "file"))
    count, said = compared(xla, KnownVerdict(known.terms))
    assert count == 1 and "the verdict is not remembered" in said[1]
