"""A release has one name."""

import re
import tomllib

from support.paths import ROOT

from facedep_jax import __version__


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]  # setuptools takes the package's
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == __version__
    assert re.search(r"^## ([^,\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == __version__
