"""What is left out of the short run is in the exhaustive one."""

import pytest


@pytest.mark.parametrize("case", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_cases_marked_exhaustive_are_in_that_run_alone(case, request, exhaustive):
    assert exhaustive or case == 0
    assert any(item.get_closest_marker("exhaustive") for item in request.session.items) == exhaustive
