"""A release has one name; its wheel and its source distribution hold all that they need, and run."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT
from support.quick_compiling import COMPILED_AS_USERS_DO

from facedep_jax import __version__
from facedep_jax.toml_settings import presets

BUILD = "import sys; from setuptools.build_meta import *; o = sys.argv[1]; print(build_sdist(o), build_wheel(o))"
CALLED = "import sys; sys.argv[0] = '/usr/bin/{name}'; from facedep_jax.cli import main; main()"


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python(*arguments, cwd, path, **variables):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=os.environ | {"PYTHONPATH": str(path)} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_version_is_the_same_everywhere():
    assert "version" not in project()  # setuptools takes the package's
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == __version__
    assert re.search(r"^## ([^,\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == __version__


def test_what_a_registry_shows_has_no_link_that_breaks_there():
    page = (ROOT / project()["readme"]).read_text()
    assert re.findall(r"\]\((?!https?:)", page) == [] and "urls" not in project()


def test_every_extra_has_a_row_in_the_readme():
    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert rows == set(project()["optional-dependencies"])


def test_python_versions_are_those_that_are_told():
    said = {text.rpartition(" ")[2] for text in project()["classifiers"] if "Python :: 3." in text}
    assert project()["requires-python"] == f">={min(said, key=lambda v: int(v.split('.')[1]))}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both distributions, made of what is in the checkout by its own build backend."""
    folder = tmp_path_factory.mktemp("built")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if names.returncode:
        pytest.skip("no git checkout: what belongs to a release cannot be told")
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    made = python("-W", "ignore", "-c", BUILD, folder, cwd=folder / "source", path="")
    assert made.returncode == 0, made.stderr
    sdist, wheel = made.stdout.split()[-2:]
    return folder / sdist, folder / wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Where the wheel is unpacked, as pip does it; what it depends on is that of these tests."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(folder)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(installed):
    there = {path.relative_to(ROOT / "facedep_jax").as_posix() for path in (ROOT / "facedep_jax").rglob("*.*")}
    wanted = {name for name in there if not name.endswith(".pyc") and (ROOT / "facedep_jax" / name).is_file()}
    package = installed / "facedep_jax"
    assert {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()} == wanted
    assert {path.name for path in installed.iterdir()} == {"facedep_jax", f"facedep_jax-{__version__}.dist-info"}


@pytest.mark.timeout(900)
def test_the_demo_runs_from_the_wheel(installed, tmp_path):
    how = {"cwd": tmp_path, "path": installed, **COMPILED_AS_USERS_DO}
    result = python("-P", "-m", "facedep_jax", "demo", "--json", **how)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "demo" / "scores" / "report.html").is_file()
    where = python("-P", "-c", "import facedep_jax; print(facedep_jax.__file__)", cwd=tmp_path, path=installed)
    assert Path(where.stdout.strip()).is_relative_to(installed)


def test_presets_are_found_from_the_wheel(installed, tmp_path):
    code = "from facedep_jax.toml_settings import presets; print(*presets())"
    assert python("-P", "-c", code, cwd=tmp_path, path=installed).stdout.split() == list(presets())


def test_tests_run_from_the_source_distribution(built, tmp_path):
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_config.py", cwd=source, path=source)
    assert ran.returncode == 0, ran.stdout
    assert (source / "docs" / "tutorial.md").is_file() and (source / "cache" / "README.md").is_file()


@pytest.mark.parametrize("name", ["cli", "facedep"])
def test_a_command_speaks_of_itself_by_the_name_it_was_called_by(name, tmp_path):
    assert project()["scripts"][name] == "facedep_jax.cli:main"
    code = CALLED.format(name=name)
    usage = python("-c", code, "train-head", "-h", cwd=tmp_path, path=ROOT).stdout
    assert usage.startswith(f"Usage: {name} train-head")
    refused = python("-c", code, "trian", cwd=tmp_path, path=ROOT)
    assert refused.returncode == 2 and f"Usage: {name} [OPTIONS]" in refused.stderr
    assert python("-c", code, "--version", cwd=tmp_path, path=ROOT).stdout == f"facedep-jax, version {__version__}\n"
    completes = {f"_{name.upper()}_COMPLETE": "bash_source"}
    assert f"_{name}_completion" in python("-c", code, cwd=tmp_path, path=ROOT, **completes).stdout


def test_the_command_runs_from_a_checkout(tmp_path):
    said = python(ROOT / "cli.py", "--help", cwd=tmp_path, path="").stdout
    assert said.startswith("Usage: python cli.py [OPTIONS]")
