"""The documentation as a site: `python tools/build_docs.py`, or `make docs`; it lies in build/site.

README, docs/ and the pages beside them go in as they are, but for links that lead from one to another. The reference of
commands is what click knows of them, that of functions what their docstrings say. Needs the extra `docs`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from facedep_jax.cli import main as command_line

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
BESIDE = {  # pages that lie elsewhere in a checkout, and what they are called here
    "README.md": "index.md",
    "cache/README.md": "cache.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE",
    "CITATION.cff": "CITATION.cff",
}
UNLINKED = {"docs/pypi.md"}  # what a package registry shows
LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")
API = {
    "Functions": ("extraction.extract", "training.train", "runs.load_run", "evaluation.evaluate", "behaviour.describe",
                  "persons.study_persons"),
    "What they hand back": ("extraction.Extraction", "runs.Run", "pictures.Predictions", "scores.Scores",
                            "evaluation.Evaluated", "behaviour.Described", "persons.Study"),
}  # fmt: skip


def collect() -> None:
    """Lay out every page below build/pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "pictures", PAGES / "pictures")
    for page in [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in BESIDE)]:
        name = page.relative_to(ROOT).as_posix()
        if name not in UNLINKED:
            (PAGES / placed(name)).write_text(linked(page), encoding="utf-8")
    (PAGES / "commands.md").write_text("\n".join(commands()), encoding="utf-8")
    (PAGES / "api.md").write_text(functions(), encoding="utf-8")


def placed(name: str) -> str:
    """Where a file of the checkout lies among the pages."""
    return BESIDE.get(name, name.removeprefix("docs/"))


def linked(page: Path) -> str:
    """The text of a page, its links as they have to be here."""

    def here(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        return f"{link[1]}{placed(target.relative_to(ROOT).as_posix())}"

    return LINK.sub(here, page.read_text(encoding="utf-8"))


def commands() -> Iterator[str]:
    """A section a command, with what its --help says."""
    yield "# Commands\n\nWhat `cli COMMAND --help` says of each. `facedep` is the same command.\n"
    for names, command in below(("cli",), command_line):
        context = click.Context(command, info_name=" ".join(names), max_content_width=100, terminal_width=100)
        yield f"{'#' * len(names)} {' '.join(names[1:])}\n\n```text\n{command.get_help(context)}\n```\n"


def below(names: tuple[str, ...], group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of a group and of the groups in it, by name."""
    for name, command in group.commands.items():
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from below((*names, name), command)


def functions() -> str:
    """What mkdocstrings is to fill."""
    parts = ["# Functions\n\n`import facedep_jax` has them by name; [python.md](python.md) shows each at work.\n"]
    for title, names in API.items():
        parts += [f"## {title}\n", *(f"::: facedep_jax.api.{name}\n" for name in names)]
    return "\n".join(parts)


def main() -> None:
    collect()
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=ROOT, check=True)
    print(f"{ROOT / 'build' / 'site' / 'index.html'}")


if __name__ == "__main__":
    main()
