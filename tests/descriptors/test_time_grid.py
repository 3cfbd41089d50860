"""The grid that seconds are counted on: what it is made of, what it joins, and over how long it averages."""

import numpy as np
import pytest
from support.behaviour import every

from facedep_jax.descriptors.bouts import bouts
from facedep_jax.descriptors.time_grid import grid_of


def grid(time=None, away=(), seconds=10.0):
    """Of `seconds` at 4 frames a second, without a face in the stretches (begin, end)."""
    time = every(seconds) if time is None else time
    return grid_of(time, np.array([not any(a <= t < b for a, b in away) for t in time]), 0.0, seconds)


def test_cells_are_of_one_width_and_fill_the_time():
    assert grid(seconds=7.03).width * len(grid(seconds=7.03).point) == pytest.approx(7.03)
    assert grid().width == pytest.approx(0.05) and grid().seconds == pytest.approx(10) and len(grid().stretches) == 1


def test_values_are_linear_between_frames_and_constant_at_the_ends():
    found = grid().linear(every(10))
    inside = grid().point < 9.75
    assert found[inside] == pytest.approx(grid().point[inside]) and found[~inside] == pytest.approx(9.75)


def test_values_are_averaged_over_a_second_and_not_across_a_gap():
    step = (grid().point > 5).astype(float)
    smooth = grid().smooth(step)
    assert ((smooth > 0) & (smooth < 1)).sum() * grid().width == pytest.approx(1, abs=0.051)
    assert smooth[np.abs(grid().point - 4.75) < 0.03] == pytest.approx(0.25, abs=0.05) and smooth[[0, -1]].tolist() == [
        0,
        1,
    ]
    parted = grid(away=[(4, 6)])
    smooth = parted.smooth((parted.point > 5).astype(float))
    assert set(smooth[parted.stretch >= 0]) == {0, 1} and np.isnan(smooth[parted.stretch < 0]).all()


def test_pairs_are_so_far_apart_and_in_one_stretch():
    at, lag = grid().pairs(0.5)
    assert lag * grid().width == pytest.approx(0.5) and len(at) == len(grid().point) - lag
    parted = grid(away=[(4, 6)])
    at, lag = parted.pairs(0.5)
    assert (parted.stretch[at] == parted.stretch[at + lag]).all() and (parted.stretch[at] >= 0).all()
    assert len(at) * parted.width == pytest.approx(10 - 2 - 2 * 0.5, abs=0.15)


@pytest.mark.parametrize(("until", "stretches"), [(4.75, 1), (5.0, 2)])
def test_a_face_that_is_back_within_a_second_was_not_away(until, stretches):
    """It is last seen at 3.75 s, and again a second or more later."""
    found = grid(away=[(4, until)])
    assert len(found.stretches) == stretches
    assert found.seen.sum() * found.width == pytest.approx(10 - (until - 4), abs=0.051)


@pytest.mark.parametrize(("lasting", "count"), [(0.45, 0), (0.5, 1)])
def test_half_a_second_is_the_least_bout(lasting, count):
    found = bouts(grid(), ((grid().point > 5) & (grid().point < 5 + lasting)).astype(float), 0.5)
    assert found == pytest.approx([0.5] * count)


@pytest.mark.parametrize("rate", [4, 5, 6, 7, 10, 12, 14.3, 15, 25, 30])
@pytest.mark.parametrize("seconds", [2.0, 4.0, 4.3, 4.5, 6.0, 6.1, 6.3])
def test_four_samples_a_second_show_change_whatever_rate_they_are_taken_from(rate, seconds):
    """At 10 frames a second they are 0.3 and 0.2 s apart in turn: more of one than of the other is chance."""
    frames = np.arange(int(seconds * rate) + 1) / rate
    taken = np.unique([frames[frames >= k / 4 - 1e-9][0] for k in range(int(frames[-1] * 4) + 1)])
    assert grid(taken, seconds=float(frames[-1])).shows_change == (min(rate, 4) >= 3.5)


def test_two_frames_a_second_do_not():
    assert not grid(np.arange(0, 10, 0.5)).shows_change
