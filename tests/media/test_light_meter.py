"""How bright a clip is: luma by hand, of frames and of faces, on average."""

import numpy as np

from facedep_jax.media.decode.light_meter import LightMeter
from facedep_jax.media.frame_types import Face, Frame


def plain(colour, height=120, width=160):
    return np.full((height, width, 3), colour, np.uint8)


def test_luma_and_its_deviation_are_means_over_frames():
    meter, halves = LightMeter(), plain((0, 0, 0))
    halves[:, 80:] = 255
    meter.see(plain((0, 255, 0)))
    meter.see(halves)
    assert meter.said == f"brightness {(150 / 255 + 0.5) / 2:.3f}, contrast 0.250"  # green is 0.587 of white


def test_faces_are_those_that_were_found_and_nothing_is_said_of_none():
    meter = LightMeter()
    assert meter.said == ""
    crop = {8: plain((51, 51, 51), 8, 8), 4: plain((255, 255, 255), 4, 4)}
    for state, crops in (
        ("found", crop),
        ("several", crop),
        ("whole", {8: plain((255, 255, 255), 8, 8)}),
        ("none", {}),
    ):
        meter.see_face(Frame(0.0, Face(state), crops))
    assert meter.said == "face 0.200"
