"""Which cases are in which run, and in what order files are begun."""

from types import SimpleNamespace

import pytest
from support.longest_first import LONGEST, longest_first
from support.paths import ROOT


@pytest.mark.parametrize("case", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_cases_marked_exhaustive_are_in_that_run_alone(case, request, exhaustive):
    assert exhaustive or case == 0
    assert any(item.get_closest_marker("exhaustive") for item in request.session.items) == exhaustive


def test_the_longest_files_lead_and_their_tests_stay_in_order():
    short, last, first = (ROOT / "tests" / name for name in ("a.py", LONGEST[-1], LONGEST[0]))
    items = [SimpleNamespace(path=path, name=name) for path in (short, last, first) for name in "ab"]
    longest_first(items)
    assert [(item.path, item.name) for item in items] == [(p, n) for p in (first, last, short) for n in "ab"]


def test_files_that_lead_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
