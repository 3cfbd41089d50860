"""Seeded bugs: one that the tests see and one that they do not, on a package made for it."""

import json
import os
import subprocess
import sys

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from small_bugs import find_bugs, is_bug

RULE = """
def may_vote(age):
    return age >= 18

def forgotten(x):
    return x > 3
"""
TEST = """
from made.room.rule import may_vote

def test_the_age_itself_counts():
    assert may_vote(18) and not may_vote(17)

def test_fails_anyway():
    assert False
"""


@pytest.fixture
def made(tmp_path):
    root = tmp_path / "checkout"
    for path, said in (
        ("made/room/rule.py", RULE),
        ("tests/room/test_rule.py", TEST),
        ("made/other/no.py", "a = 1 + 1"),
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(said)
    return root


def mutate(root, *arguments):
    command = [sys.executable, ROOT / "tools" / "mutate.py", "--root", root, "--package", "made", "--rooms", "room"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    done = subprocess.run([*command, *arguments], text=True, capture_output=True, check=True, env=environment)
    return done.stdout


def test_says_which_bug_is_caught_and_which_survives(made):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    told = json.loads(mutate(made, "--json"))
    assert told["counts"] == {"caught": 1, "survived": 1}
    assert told["failing_without_a_bug"] == ["tests/room/test_rule.py::test_fails_anyway"]
    caught, survived = told["bugs"]
    assert (caught["at"], caught["by"]) == (
        "made/room/rule.py:3", "tests/room/test_rule.py::test_the_age_itself_counts"
    )  # fmt: skip
    assert (survived["at"], survived["before"], survived["by"]) == ("made/room/rule.py:6", "return x > 3", "")
    assert survived["after"] != survived["before"]
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_a_seed_draws_the_same_bugs(made):
    (made / "made/room/rule.py").write_text("".join(f"a{i} = {i} + 1\n" for i in range(50)))
    one, same, other = (mutate(made, "--list", "--count", "5", "--seed", seed) for seed in ("1", "1", "2"))
    assert one == same != other
    assert one.endswith("5 listed of 5\n")


@pytest.mark.parametrize(
    ("line", "bugs"),
    [
        ("a < b", {"a <= b"}),
        ("é == b != c", {"é != b != c", "é == b == c"}),
        ("a and b", {"a or b"}),
        ("a - 2", {"a + 2", "a - 3"}),
        ("a += b", {"a -= b"}),
        ("c if a else b", {"c if (not (a)) else b"}),
        ("[a for a in b if c]", {"[a for a in b if (not (c))]"}),
        ("raise ValueError(a + 1)", {"pass"}),
        ("_check_size(a)", {"pass"}),
        ("f(a, b=c, d=e)", {"f(a,  d=e)", "f(a, b=c, )"}),
        ("f(a, b)", {"f(b, b)", "f(a, a)"}),
        ("np.maximum(a)", {"np.minimum(a)"}),
        ("a[b:c]", {"a[(b) + 1:c]", "a[b:(c) - 1]"}),
        ("def f(): return a", {"def f(): return None"}),
        ("def f(): return a < b", {"def f(): return a <= b", "def f(): return (not (a < b))"}),
        ("def f() -> A[1]: 'says'", set()),
        ("def __repr__(): return a + b", set()),
        ("Note(f'{a + b}')", set()),
        ("a < 1e-9", set()),
        ("zip(a, strict=True)", set()),
        ("if TYPE_CHECKING: a + b", set()),
    ],
)
def test_bugs_by_hand(line, bugs):
    source = line.encode()
    assert {bug.applied(source).decode() for bug in find_bugs("f.py", source) if is_bug(source, bug)} == bugs
