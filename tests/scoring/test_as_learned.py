"""Faces are cut as those were that the run learned from, or it is said in what they differ."""

from dataclasses import replace

import pytest
from support.untrained_run import untrained_head

from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.scoring.head_requirements import aligned_as_learned

FACES = {"faces": "yunet", "detector_sha256": "1" * 64, "margin": 0.0, "align": True, "min_face": 36.0}


@pytest.fixture(scope="module")
def head():
    return replace(untrained_head(), input={"image": {"decoder": 2, **FACES}})


def test_faces_are_turned_upright_where_the_run_learned_so_and_nobody_decided(head):
    said = []
    assert aligned_as_learned(head, ExtractSettings(), said.append).align is True
    assert "--no-align" in said[0].text
    assert aligned_as_learned(head, ExtractSettings(align=False), said.append).align is False and len(said) == 1
    assert aligned_as_learned(untrained_head(), ExtractSettings(), said.append).align is None and len(said) == 1


def clips(head, **face) -> str:
    """What is said of clips whose faces are cut so."""
    spec = {"features": head.features, "input": {"clip": {"decoder": 2, "fps": 4.0, "policy": "track", **face}}}
    return head.require_features(spec)


def test_in_what_faces_of_clips_differ_from_those_of_pictures_is_said(head):
    learned = "the run learned from images, these are clips"
    assert clips(head, **FACES) == learned
    assert clips(head, **(FACES | {"align": False})) == f"{learned}; align: True → False"
    assert clips(head, **(FACES | {"margin": 0.2})) == f"{learned}; margin: 0.0 → 0.2"
    assert clips(head, faces="none").startswith(f"{learned}; the run learned from faces that were cut out")
    assert clips(untrained_head(), **FACES) == learned  # of tight pictures, which they look like
