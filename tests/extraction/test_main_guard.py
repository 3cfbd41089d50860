"""A script that starts workers is told of the main guard before anything is begun."""

import subprocess
import sys

import pytest
from support.paths import ROOT

CHECK = "from facedep_jax.extraction.main_guard import check_main_guard\n"
EXTRACT = """
from pathlib import Path
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.sources import read_source
print("begun")
extract([read_source(".")], Path("cache"), ExtractSettings(weights="random:1", workers=2))
"""


def python(folder, *arguments, text=None):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], input=text, cwd=folder, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_script_without_the_guard_ends_with_a_sentence_that_names_it(tmp_path):
    (tmp_path / "script.py").write_text(EXTRACT)
    (tmp_path / "face.png").write_bytes(b"never read")
    result = python(tmp_path, "script.py")
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and result.stdout == "begun\n"
    assert "script.py, line 7: workers are started outside of a main guard" in last
    assert 'if __name__ == "__main__":' in last
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "script",
    [
        'def main():\n    check_main_guard()\nif __name__ == "__main__":\n    main()',
        '__name__ == "__main__" and check_main_guard()',
        'try:\n    if __name__ == "__main__":\n        check_main_guard()\nfinally:\n    pass',
    ],
)
def test_guarded_scripts_pass(script, tmp_path):
    (tmp_path / "script.py").write_text(CHECK + script)
    assert python(tmp_path, "script.py").returncode == 0
    assert python(tmp_path, "-m", "script").returncode == 0


@pytest.mark.parametrize("script", ["check_main_guard()", "for _ in range(1):\n    check_main_guard()", "import other"])
def test_others_do_not_however_they_are_run(script, tmp_path):
    (tmp_path / "other.py").write_text(CHECK + "check_main_guard()")
    (tmp_path / "script.py").write_text("import logging\nlogging.getLogger(__name__)\n" + CHECK + script)
    for run in (("script.py",), ("-m", "script")):
        result = python(tmp_path, *run)
        assert result.returncode == 1 and "main guard" in result.stderr.splitlines()[-1]


def test_what_no_worker_would_run_again_passes(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__main__.py").write_text(CHECK + "check_main_guard()")
    assert python(tmp_path, "-m", "package").returncode == 0
    assert python(tmp_path, "-c", CHECK + "check_main_guard()").returncode == 0
    assert python(tmp_path, "-", text=CHECK + "check_main_guard()").returncode == 0
