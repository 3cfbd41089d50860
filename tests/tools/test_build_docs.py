"""The pages of the site: every one is in the contents, and what leads from one to another leads there."""

import re
import subprocess
import sys

import pytest
from support.paths import ROOT

from facedep_jax.cli import main

sys.path.insert(0, str(ROOT / "tools"))
import build_docs


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_docs, "PAGES", tmp_path_factory.mktemp("site") / "pages")
        build_docs.collect()
        yield build_docs.PAGES


def test_every_page_is_in_the_contents(pages):
    named = set(re.findall(r"[\w]+\.md", (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]))
    assert named == {page.name for page in pages.glob("*.md")}


def test_links_lead_to_pages_and_pictures(pages):
    absent = {
        f"{page.name}: {link}"
        for page in pages.glob("*.md")
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
        if not (pages / link).is_file()
    }
    assert absent == set()


def test_every_command_has_a_section_with_its_options(pages):
    text = (pages / "commands.md").read_text()
    for names, command in build_docs.below(("cli",), main):
        assert f"{'#' * len(names)} {' '.join(names[1:])}\n" in text
        assert all(option.opts[0] in text for option in command.params if option.opts[0].startswith("--"))


def test_every_function_of_the_package_is_in_the_reference(pages):
    import facedep_jax

    text = (pages / "api.md").read_text()
    assert all(f".{name}\n" in text for name in facedep_jax.__all__ if name not in ("__version__", "open_cache"))


def test_the_site_is_built():
    pytest.importorskip("mkdocs", reason="mkdocs is absent (extra: docs)")
    subprocess.run([sys.executable, ROOT / "tools" / "build_docs.py"], check=True)
    site = ROOT / "build" / "site"
    assert "run.predict" in (site / "python.html").read_text()
    assert "Train a head on caches of equal features" in (site / "api.html").read_text()
