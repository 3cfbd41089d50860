"""One picture in two splits, as another file or nearly the same: through real decoding and a real backbone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.dataset.duplicates_across_splits import equal_pixels_across, look_alikes
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.dataset.prepare import duplicate_warnings
from facedep_jax.errors import LabelError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head
from facedep_jax.training.training_inputs import prepare_for

QUICK = ExtractSettings(
    weights="random:1", taps="mobilenet_v2:mid@2,mobilenet_v2:top@1", size="32", batch_size=4, faces="none"
)
SETTINGS = TrainSettings(preset="tiny", epochs=1, seeds=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Drawn faces. Three of the training split are also in test: as the same pixels in another file (twice, at other
    places in their batch), and a little brighter.
    """
    folder = tmp_path_factory.mktemp("work")
    draw_faces(folder / "faces", persons=12)
    found = sorted((folder / "faces" / "train").rglob("*.png"))
    for number, name in ((0, "a_first.png"), (7, "zz_last.png"), (11, "m_brighter.png")):
        pixels = cv2.imread(str(found[number]))
        place = folder / "faces" / "test" / found[number].parent.name / name
        if "brighter" in name:
            pixels = np.minimum(pixels.astype(int) + 6, 255).astype(np.uint8)
        cv2.imwrite(str(place), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        assert place.read_bytes() != found[number].read_bytes()
    extract([read_source(str(folder / "faces"))], folder / "cache", QUICK)
    return folder / "cache"


def examples_of(cache):
    opened = open_cache(cache)
    prepared = prepare_for([opened], SETTINGS)
    return opened, gather([opened], prepared.items, prepared.classes, prepared.taps)


def test_equal_pixels_are_found_in_other_files_and_nothing_else_is(cache):
    opened, examples = examples_of(cache)
    found = equal_pixels_across([opened], examples)
    names = {frozenset(examples.path[i].rpartition("/")[2] for i in pair) for pair in found}
    assert len(found) == 2
    assert {name for pair in names for name in pair} >= {"a_first.png", "zz_last.png"}


def test_a_brighter_copy_looks_alike(cache):
    opened, examples = examples_of(cache)
    assert look_alikes([opened], examples)[0] >= 6
    pairs = inspect_cache(cache)["near_duplicates"]["pairs"]
    across = [pair["paths"] for pair in pairs if pair["across"]]
    for name in ("a_first.png", "zz_last.png", "m_brighter.png"):
        assert any(path.endswith(name) for pair in across for path in pair), name


def test_training_stops_unless_duplicates_are_allowed(cache, tmp_path):
    opened, examples = examples_of(cache)
    with pytest.raises(LabelError, match=r"2 items have the pixels of an item of another split.*--allow-duplicates"):
        train_head([opened], SETTINGS, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    kept, alike = duplicate_warnings([opened], examples, allowed=True)
    assert "they are kept, as asked" in kept
    assert "near-duplicates of an item of another split" in alike


class FarEnough(Exception):
    """Training has said all that this file wants to hear."""


def test_the_run_that_allows_them_says_so(cache, tmp_path):
    said = []

    def report(event):
        said.append(getattr(event, "text", ""))
        if "near-duplicates of an item of another split" in said[-1]:
            raise FarEnough

    with pytest.raises(FarEnough):
        train_head([open_cache(cache)], replace(SETTINGS, allow_duplicates=True), tmp_path / "run", report)
    assert any("2 items have the pixels" in text and "they are kept, as asked" in text for text in said)
