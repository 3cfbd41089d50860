"""Do the tests bite? Small bugs are put into the code one at a time, and the tests that concern it are run.

    python tools/mutate.py --rooms head,cache/maintenance [--count 60] [--seed 0] [--tests PATH ...] [--timeout 900]
        [--list] [--json]

`--rooms` takes folders and files of the package. Bugs go into a copy of the checkout in a temporary directory, beside
the same ../shared; the working tree is only read. They are drawn by `--seed`, one kind after the other and never two on
a line: operators at their boundary, and/or, conditions negated, constants, checks dropped, arguments dropped or
replaced, min/max, return values, bounds of slices (`small_bugs.py` says what is left alone).

Tests of a module are those in the folder of its room and those elsewhere that name it, or `--tests`. They run once on
the sound copy: what fails there is left out, and of the files that name the module, then of the rest, the quickest come
first. Each bug's run ends with the first failure. A bug that survives is a hole in the tests, or no bug: look at it.
"""

import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import cache_from_source
from pathlib import Path
from xml.etree import ElementTree

from small_bugs import Bug, find_bugs, is_bug

ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "runs", "scores", "demo", "data", "shards", "*.egg-info"
)


def choose(root: Path, files: Sequence[str], count: int, seed: int) -> list[Bug]:
    """`count` bugs, fewer where there are no more, of all kinds in turn."""
    sources = {file: (root / file).read_bytes() for file in files}
    found = [bug for file, source in sources.items() for bug in find_bugs(file, source)]
    random.Random(seed).shuffle(found)
    turn: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
    found = [bug for _, bug in sorted(((next(turn[bug.kind]), bug) for bug in found), key=lambda pair: pair[0])]
    chosen: dict[tuple[str, int], Bug] = {}
    for bug in found:
        place = bug.file, bug.line
        if len(chosen) < count and place not in chosen and is_bug(sources[bug.file], bug):
            chosen[place] = bug
    return sorted(chosen.values())


def tests_of(root: Path, file: str) -> tuple[list[str], list[str]]:
    """Test files that name a module, and the others of its room: tests/<room>, or those that lie beside the rooms."""
    package, stem = ".".join(Path(file).parts[:-1]), Path(file).stem
    named = re.compile(rf"{package}\b" if stem == "__init__" else rf"{package}(\.{stem}\b|\s+import\b.*\b{stem}\b)")
    tests = {path.relative_to(root).as_posix(): path for path in sorted((root / "tests").rglob("test_*.py"))}
    names = [test for test, path in tests.items() if named.search(path.read_text(encoding="utf-8"))]
    room = file.split("/")[1] + "/" if file.count("/") > 1 else "test_"
    return names, [test for test in tests if test.startswith(f"tests/{room}") and test not in names]


def pytest(root: Path, arguments: Iterable[str], timeout: float | None = None) -> tuple[int | None, str]:
    """Status and output of a run in `root`; no status where it took longer than `timeout` seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, start_new_session=True) as run:  # fmt: skip
        try:
            said, _ = run.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            return None, run.communicate()[0]
    return run.returncode, said


def sound(root: Path, tests: Iterable[str]) -> tuple[defaultdict[str, float], list[str]]:
    """Seconds that each test file takes while nothing is broken, and the tests that fail all the same."""
    report = root / "sound.xml"
    _, said = pytest(root, [*tests, f"--junit-xml={report}", "-o", "junit_family=xunit1"])
    if not report.is_file():
        raise SystemExit(f"the tests do not even run without a bug:\n{said}")
    seconds: defaultdict[str, float] = defaultdict(float)
    failing = []
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("file", "")
        seconds[file] += float(case.get("time", 0))
        if case.find("failure") is not None or case.find("error") is not None:
            failing.append(f"{file}::{case.get('name')}")
    return seconds, failing


def run(root: Path, bug: Bug, tests: Sequence[str], failing: Sequence[str], timeout: float) -> tuple[str, str]:
    """What became of a bug, "caught", "survived" or "timed out", and the test that caught it."""
    path = root / bug.file
    source, compiled = path.read_bytes(), Path(cache_from_source(str(path)))
    try:
        path.write_bytes(bug.applied(source))
        Path(cache_from_source(str(path))).unlink(
            missing_ok=True
        )  # the same size in the same second counts as the same
        status, said = pytest(root, ["-x", *tests, *(f"--deselect={test}" for test in failing)], timeout)
    finally:
        path.write_bytes(source)
        compiled.unlink(missing_ok=True)
    by = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    return {0: "survived", None: "timed out"}.get(status, "caught"), by[1] if by else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout; default: this one")
    parser.add_argument("--package", default="facedep_jax")
    parser.add_argument("--rooms", required=True, help="folders and files of the package, with commas; . is all")
    parser.add_argument("--tests", nargs="+", help="files or folders to run instead of those that concern a module")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one bug")
    parser.add_argument("--list", action="store_true", help="only say what would be done")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    places = [asked.root / asked.package / room for room in asked.rooms.split(",")]
    files = sorted({file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))})
    bugs = choose(asked.root, [file.relative_to(asked.root).as_posix() for file in files], asked.count, asked.seed)
    tests = {bug.file: ([], asked.tests) if asked.tests else tests_of(asked.root, bug.file) for bug in bugs}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "checkout"
        shutil.copytree(asked.root, root, ignore=NOT_COPIED)
        if (asked.root.parent / "shared").is_dir():
            (root.parent / "shared").symlink_to((asked.root.parent / "shared").resolve())
        wanted = sorted({test for kinds in tests.values() for kind in kinds for test in kind})
        seconds, failing = (defaultdict(float), []) if asked.list else sound(root, wanted)
        results = []
        for bug in bugs:
            before, after = bug.shown((root / bug.file).read_bytes())
            quick = [test for kind in tests[bug.file] for test in sorted(kind, key=seconds.__getitem__)]
            what, by = ("listed", "") if asked.list else run(root, bug, quick, failing, asked.timeout)
            results.append({"result": what, "at": f"{bug.file}:{bug.line}", "kind": bug.kind, "before": before,
                            "after": after, "by": by})  # fmt: skip
            if not asked.json:
                print(f"{what:<10}{bug.file}:{bug.line}  {bug.kind}  {by}\n    - {before}\n    + {after}", flush=True)
    counts = Counter(entry["result"] for entry in results)
    if asked.json:
        print(json.dumps({"counts": counts, "failing_without_a_bug": failing, "bugs": results}, indent=2))
    else:
        print(", ".join(f"{count} {what}" for what, count in counts.most_common()), f"of {len(results)}")


if __name__ == "__main__":
    main()
