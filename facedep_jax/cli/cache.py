"""`cache inspect|verify|diff`: what looks and changes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli import cache_maintenance
from facedep_jax.cli.command import FILE, PATH, Command, CommandResult
from facedep_jax.cli.terminal.tables import (
    SHOWN_LINES,
    counted,
    facts_table,
    plain_table,
    say,
    show_lines,
    show_number,
    show_table,
    show_warning,
)
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console

SUBJECTS, PAIRS = 10, 10  # shown; --json has all
NO_MANIFEST = "missing or damaged; read from the shards. The next extract-features or `cache repair` writes it anew"


class Part(click.ParamType):
    """A part of a whole: 5% or 0.05."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """`"5%"` and `"0.05"` → 0.05; fails for what is not above 0 and at most 1."""
        text = str(value).strip()
        try:
            part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            part = 0.0
        if not 0 < part <= 1:
            self.fail(f"{value!r} is no part of the shards; say 5% or 0.05", param, context)
        return part


@click.command("inspect", cls=Command)
@click.argument("cache", type=PATH)
@click.option("--plot", type=FILE, metavar="FILE.png", help="Draw it too.")
def inspect(report: Report, cache: Path, plot: Path | None) -> CommandResult:
    """Say what a cache holds.

    Counts, settings, labels, subjects, near-duplicates, failures, and statistics of every tap. The cache may come from
    a stranger: it is read by a process that can do nothing else. Changes nothing.
    """
    from facedep_jax.cache.maintenance.sandboxed_reader import in_child

    summary = in_child("inspect", cache, report, curves=plot is not None)
    if plot:
        from facedep_jax.report.cache_overview_plot import draw_cache
        from facedep_jax.report.run_plots import save

        save(draw_cache(summary), plot)
    return CommandResult(summary, show_inspection)


@click.command("verify", cls=Command, writes=False)
@click.argument("cache", type=PATH)
@click.option("--sample", type=Part(), default="100%", help="Hash and read only this part of the shards.")
@click.option("--seed", type=int, help="Draw the sample that was drawn with this seed.")
def verify(report: Report, cache: Path, sample: float, seed: int | None) -> CommandResult:
    """Check that every byte of a cache is what was written. Changes nothing; exit status 3 if something is wrong.

    With --sample, hashes and values are checked of a random part of the shards, and the structure of all.
    """
    from facedep_jax.cache.maintenance.sandboxed_reader import in_child

    summary = in_child("verify", cache, report, sample=sample, seed=seed)
    return CommandResult(summary, show_verification, not summary["ok"])


@click.command("diff", cls=Command, writes=False)
@click.argument("cache", type=PATH)
@click.argument("other", type=PATH)
@click.option(
    "--listings/--no-listings",
    default=True,
    help="Whether what is listed counts too: paths, labels, segments.  [default: it does]",
)
def diff(report: Report, cache: Path, other: Path, listings: bool) -> CommandResult:
    """Compare two caches.

    By ids, listings and values, wherever shards begin and end. Exit status 3 if they differ. Changes nothing.
    """
    from facedep_jax.cache.maintenance.verify import diff_caches

    summary = diff_caches(cache, other, listings)
    return CommandResult(summary, show_differences, not summary["equal"])


def show_differences(console: "Console", summary: Mapping[str, Any]) -> None:
    """One line each."""
    console.print("equal" if summary["equal"] else "\n".join(summary["differences"]), markup=False)


def show_verification(console: "Console", summary: Mapping[str, Any]) -> None:
    """One line, and one for each problem."""
    verdict = "ok" if summary["ok"] else counted(len(summary["problems"]), "problem")
    read = f" ({summary['hashed']} read in full, seed {summary['seed']})" if summary["seed"] is not None else ""
    shards, items, rows = (counted(summary[f"{noun}s"], noun) for noun in ("shard", "item", "row"))
    counts = f"{shards}{read}, {items}, {rows}"
    say(console, f"{summary['cache']}: {counts}: {verdict}")
    show_lines(console, (f"{p['file']}: {p['kind']}: {p['detail']}" for p in summary["problems"]), SHOWN_LINES)
    if not summary["ok"]:
        say(console, "`cache repair` sets aside what is bad and keeps the rest")


def show_inspection(console: "Console", summary: Mapping[str, Any]) -> None:
    """Counts, then labels by split, then the taps' statistics."""
    from rich.markup import escape

    features, inputs = summary["spec"]["features"], summary["spec"]["input"]
    weights = [f"{name}: {w['family']} {str(w.get('sha256'))[:12]}" for name, w in features.get("weights", {}).items()]
    faces = [f"{kind}s: {', '.join(_setting(*one) for one in how.items())}" for kind, how in inputs.items()]
    alike = summary["near_duplicates"]
    facts = [
        ("fingerprint", summary["fingerprint"][:16]),
        ("items", f"{summary['items']} {_joined(summary['kinds'])}"),
        ("rows", f"{summary['rows']} {_joined(summary['face_states'])}"),
        ("size", f"{summary['bytes'] / 1e6:.1f} MB in {summary['shards']} shards"),
        ("listings", f"{summary['listings']}, {summary['items_listed_twice']} items listed more than once"),
        *([("segments", _segments_said(summary))] if summary["segments"] else []),
        ("subjects", f"{summary['subjects']}, {summary['subjects_in_several_splits']} of them in several splits"),
        (
            "look-alikes",
            f"{'' if alike['all'] else 'at least '}{alike['items']} items in {len(alike['pairs'])} pairs, "
            f"{alike['across_splits']} pairs across splits",
        ),
        ("cut off", summary["items_cut_off"]),
        ("purged", summary["items_purged"]),
        ("failures", len(summary["failures"])),
        ("odd files", f"{summary['files_odd']}, by `decoding` in listings.jsonl"),
        ("ignored files", f"{summary['files_ignored']}, named in ignored.jsonl"),
        *([] if summary["manifest_whole"] else [("manifest", NO_MANIFEST)]),
        ("weights", "; ".join(weights)),
        ("input size", _joined(features.get("size", {}))),
        ("colour", f"{features.get('color')}, {features.get('precision')}"),
        ("input", "; ".join(faces)),
        ("engine", "; ".join(f"{name} ({n} shards)" for name, n in summary["engines"].items())),
    ]
    show_table(console, facts_table(f"cache {summary['cache']}", facts))
    _show_emotions(console, summary["emotions"])
    _show_subjects(console, summary["subject_table"])
    figures = ("mean", "sd", "max", "zeros", "dead")
    taps = plain_table("features", "tap", "shape", *figures, names=("tap",))
    for tap, s in summary["taps"].items():
        taps.add_row(tap, "×".join(map(str, s["shape"])), *(show_number(s[name]) for name in figures))
    show_table(console, taps)
    _show_pairs(console, alike["pairs"])
    for failure in summary["failures"][:20]:
        console.print(
            f"[red]failed[/] {escape(failure['path'])}: {escape(failure['reason'])}", soft_wrap=not console.is_terminal
        )
    show_lines(console, (f"failed {f['segment']}: {f['reason']}" for f in summary["segments_failed"]), SHOWN_LINES)
    show_warning(console, summary)


def _setting(name: str, value: Any) -> str:
    """As it is, but for a hash, of which a beginning tells it from others."""
    return f"{name} {str(value)[:12] if name.endswith('sha256') else value}"


def _segments_said(summary: Mapping[str, Any]) -> str:
    overlap, wrong = summary["segments_overlapping"], len(summary["segments_failed"])
    said = f"{summary['segments']} of {summary['files_cut']} listed files, {overlap} overlap another"
    return f"{said}, {wrong} hold no frame" if wrong else said


def _show_emotions(console: "Console", emotions: Mapping[str, Mapping[str, int]]) -> None:
    names = sorted({name for counts in emotions.values() for name in counts})
    table = plain_table("listings", "emotion", *emotions, names=("emotion",))
    for name in names:
        table.add_row(name, *(str(counts.get(name, 0)) for counts in emotions.values()))
    show_table(console, table)


def _show_subjects(console: "Console", subjects: Sequence[Mapping[str, Any]]) -> None:
    """Subjects with most items, and those in several splits before others."""

    if not subjects:
        return
    shown = sorted(subjects, key=lambda row: len(row["splits"]) < 2)[:SUBJECTS]
    splits = sorted({split for row in shown for split in row["splits"]})
    table = plain_table(f"subjects, {len(shown)} of {len(subjects)}", "subject", "items", *splits, names=("subject",))
    several = Counter(row["subject"] for row in subjects)
    for row in shown:
        name = row["subject"] if several[row["subject"]] == 1 else f"{row['subject']} of {row['of']}"
        table.add_row(name, str(row["items"]), *(str(row["splits"].get(s, "–")) for s in splits))
    show_table(console, table)


def _show_pairs(console: "Console", pairs: Sequence[Mapping[str, Any]]) -> None:
    if pairs:
        say(console, "look-alikes")
        sides = (
            (f"{p} ({', '.join(s)})" for p, s in zip(pair["paths"], pair["splits"], strict=True)) for pair in pairs
        )
        show_lines(console, map(" ~ ".join, sides), PAIRS)


def _joined(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items())


caches = click.Group("cache", help="Look into caches, and take care of them.")
for _command in (
    inspect,
    verify,
    diff,
    cache_maintenance.repair,
    cache_maintenance.merge,
    cache_maintenance.export,
    cache_maintenance.purge,
    cache_maintenance.forget,
):
    caches.add_command(_command)
