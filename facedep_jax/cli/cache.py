"""`cache inspect|verify|diff`."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.frame import Outcome, command
from facedep_jax.cli.tables import PLAIN_TABLE, plain_table, show_number, show_table, show_warning
from facedep_jax.events import Report

CACHE = click.argument("cache", type=click.Path(path_type=Path))


def add_to(group: click.Group) -> None:
    """Add the commands of this module to `group`."""
    caches = click.Group("cache", help="Look into caches.")
    group.add_command(caches)
    command(caches, "inspect")(CACHE(inspect))
    command(caches, "verify")(CACHE(verify))
    other = click.argument("other", type=click.Path(path_type=Path))
    command(caches, "diff")(CACHE(other(diff)))


def inspect(report: Report, cache: Path) -> Outcome:
    """What a cache holds: counts, settings, labels, failures, and the statistics of every tap."""
    from facedep_jax.cache.inspect import inspect_cache

    summary = inspect_cache(cache)
    return Outcome(summary, lambda console: show_inspection(console, summary))


def verify(report: Report, cache: Path) -> Outcome:
    """Check that every byte of a cache is what was written. Changes nothing; exit status 3 if something is wrong."""
    from facedep_jax.cache.verify import verify_cache

    summary = verify_cache(cache, report)
    return Outcome(summary, lambda console: show_verification(console, summary), not summary["ok"])


def diff(report: Report, cache: Path, other: Path) -> Outcome:
    """Compare two caches by ids, listings and values; exit status 3 if they differ."""
    from facedep_jax.cache.verify import diff_caches

    summary = diff_caches(cache, other)

    def show(console: Any) -> None:
        console.print("equal" if summary["equal"] else "\n".join(summary["differences"]), markup=False)

    return Outcome(summary, show, not summary["equal"])


def show_verification(console: Any, summary: dict[str, Any]) -> None:
    """One line, and one for each problem."""
    verdict = "ok" if summary["ok"] else f"{len(summary['problems'])} problems"
    console.print(
        f"{summary['cache']}: {summary['shards']} shards, {summary['items']} items, {summary['rows']} rows: {verdict}",
        markup=False,
    )
    for problem in summary["problems"]:
        console.print(
            f"  {problem['file']}: {problem['kind']}: {problem['detail']}",
            markup=False,
            soft_wrap=not console.is_terminal,
        )


def show_inspection(console: Any, summary: dict[str, Any]) -> None:
    """Counts, then labels by split, then the taps' statistics."""
    from rich.markup import escape
    from rich.table import Table

    features, inputs = summary["spec"]["features"], summary["spec"]["input"]
    facts = Table(title=escape(f"cache {summary['cache']}"), **PLAIN_TABLE, show_header=False)
    weights = [f"{name}: {w['family']} {w['sha256'][:12]}" for name, w in features["weights"].items()]
    faces = [f"{kind}s: " + ", ".join(f"{k} {str(v)[:12]}" for k, v in how.items()) for kind, how in inputs.items()]
    for label, value in (
        ("fingerprint", summary["fingerprint"][:16]),
        ("items", f"{summary['items']} {_joined(summary['kinds'])}"),
        ("rows", f"{summary['rows']} {_joined(summary['face_states'])}"),
        ("size", f"{summary['bytes'] / 1e6:.1f} MB in {summary['shards']} shards"),
        ("listings", f"{summary['listings']}, {summary['items_listed_twice']} items listed more than once"),
        ("subjects", summary["subjects"]),
        ("failures", len(summary["failures"])),
        ("weights", "\n".join(weights)),
        ("input size", _joined(features["size"])),
        ("colour", f"{features['color']}, {features['precision']}"),
        ("input", "\n".join(faces)),
        ("engine", "\n".join(f"{name} ({n} shards)" for name, n in summary["engines"].items())),
    ):
        facts.add_row(label, escape(str(value)))
    console.print(facts)
    _show_emotions(console, summary["emotions"])
    taps = plain_table("features", "tap", "shape", "mean", "sd", "max", "zeros", names=("tap",))
    for tap, s in summary["taps"].items():
        taps.add_row(tap, "×".join(map(str, s["shape"])), *(show_number(s[k]) for k in ("mean", "sd", "max", "zeros")))
    show_table(console, taps)
    for failure in summary["failures"][:20]:
        console.print(
            f"[red]failed[/] {escape(failure['path'])}: {escape(failure['reason'])}", soft_wrap=not console.is_terminal
        )
    show_warning(console, summary)


def _show_emotions(console: Any, emotions: dict[str, dict[str, int]]) -> None:
    names = sorted({name for counts in emotions.values() for name in counts})
    table = plain_table("listings", "emotion", *emotions, names=("emotion",))
    for name in names:
        table.add_row(name, *(str(counts.get(name, 0)) for counts in emotions.values()))
    show_table(console, table)


def _joined(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items())
