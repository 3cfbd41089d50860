"""`cache repair|merge|export|purge`: what writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import PATH, Command, CommandResult
from facedep_jax.cli.terminal.tables import SHOWN_LINES, counted, say, show_lines
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console


@click.command("repair", cls=Command)
@click.argument("cache", type=PATH)
def repair(report: Report, cache: Path) -> CommandResult:
    """Set aside what is damaged in a cache.

    The rest stays as it is. What is taken out is kept in CACHE/dropped; the next extract-features adds its items again.
    Exit status 3 if anything was not as it should be.
    """
    from facedep_jax.cache.maintenance.repair import repair_cache

    summary = repair_cache(cache, report)
    return CommandResult(summary, show_repair, summary["changed"])


@click.command("merge", cls=Command)
@click.argument("caches", type=PATH, nargs=-1, required=True, metavar="CACHE...")
@click.option("--out", type=PATH, required=True, metavar="NEW", help="A new cache, or one to add to.")
def merge(report: Report, caches: tuple[Path, ...], out: Path) -> CommandResult:
    """Put caches that were extracted with equal settings into one.

    Of an item that several hold the first copy counts, of a listing the last. Exit status 3 if copies or listings
    differ.
    """
    from facedep_jax.cache.maintenance.merge import merge_caches

    summary = merge_caches(caches, out, report)
    differ = bool(summary["items_unequal"] or summary["listing_conflicts"])
    return CommandResult(summary, show_merge, differ)


@click.command("export", cls=Command)
@click.argument("cache", type=PATH)
@click.option(
    "--out", type=PATH, required=True, metavar="FILE.h5|FILE.npz|DIR", help="Where to; nothing is overwritten."
)
def export(report: Report, cache: Path, out: Path) -> CommandResult:
    """Write a cache as one plain file.

    Its tables lie beside it as CSV. FILE.h5 has the groups of a shard, FILE.npz the same arrays, and any other name
    makes a folder of .npy files.
    """
    from facedep_jax.cache.maintenance.export import export_cache

    summary = export_cache(cache, out, report)
    return CommandResult(summary, show_export)


@click.command("purge", cls=Command)
@click.argument("cache", type=PATH)
@click.option("--id", "ids", multiple=True, metavar="ID", help="The item with this SHA-256.")
@click.option("--subject", "subjects", multiple=True, metavar="S", help="All items of this subject.")
@click.option("--also", type=PATH, multiple=True, metavar="DIR", help="Name what speaks of them in here.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
def purge(
    report: Report,
    cache: Path,
    ids: tuple[str, ...],
    subjects: tuple[str, ...],
    also: tuple[Path, ...],
    dry_run: bool,
) -> CommandResult:
    """Remove somebody who withdraws.

    Their features, listings and failures go for good. A salted hash of each item stays, so that it is not extracted
    again. Copies elsewhere are not found; runs, scores and caches under --also that hold them are named, not altered.
    """
    from facedep_jax.cache.maintenance.purge import purge_cache

    summary = purge_cache(cache, ids, subjects, also, dry_run, report)
    return CommandResult(summary, show_purge)


@click.command("forget", cls=Command)
@click.argument("cache", type=PATH)
@click.argument("source")
def forget(report: Report, cache: Path, source: str) -> CommandResult:
    """Retire a source: a cache does not list its files any more, so that none is trained on or judged.

    SOURCE is written as `cache inspect` shows it, or as a path. Features stay: extracting the source again lists it
    again at once. For a person who withdraws use `cache purge`.
    """
    from facedep_jax.cache.maintenance.forget import forget_source

    return CommandResult(forget_source(cache, source), show_forgotten)


def show_forgotten(console: "Console", summary: Mapping[str, Any]) -> None:
    """What went, and what is still listed."""
    s = summary
    say(
        console,
        f"{s['cache']}: {counted(s['listings'], 'listing')} of {s['source']} retired; {counted(s['items'], 'item')} of "
        f"theirs {'is' if s['items'] == 1 else 'are'} listed by no other source",
    )
    show_lines(console, (f"{name}: {count} listed" for name, count in s["sources"].items()), SHOWN_LINES)


def show_repair(console: "Console", summary: Mapping[str, Any]) -> None:
    """What was dropped and where it is kept, then what has to be extracted again."""
    kept = f"{summary['items']} items are whole"
    if not summary["changed"]:
        say(console, f"{summary['cache']}: nothing to repair, {kept}")
        return
    say(console, f"{summary['cache']}: {counted(len(summary['dropped']), 'thing')} put right, {kept}")
    dropped = ((d, f" → {d['kept_as']}" if d["kept_as"] else "") for d in summary["dropped"])
    show_lines(console, (f"{d['file']}: {d['kind']}: {d['detail']}{kept_as}" for d, kept_as in dropped), SHOWN_LINES)
    if summary["items_lost"]:
        say(console, f"{summary['items_lost']} items are lost; extract-features on their source adds them again")
        show_lines(console, (f"{e['source']}: {e['path']}" for e in summary["extract_again"]), SHOWN_LINES)


def show_merge(console: "Console", summary: Mapping[str, Any]) -> None:
    """One line of counts, then whatever was not the same everywhere."""
    s = summary
    say(
        console,
        f"{s['cache']}: {s['items']} items and {s['listings']} listings from {s['caches']} caches; shards: "
        f"{s['shards_linked']} linked, {s['shards_copied']} copied, {s['shards_rewritten']} written anew",
    )
    for count, text in (
        (s["items_in_several"], "items were in several caches"),
        (len(s["items_unequal"]), "of them with other values: the first copy is kept"),
        (s["items_cut_off"], "clips are cut off; the next extract-features goes on with them"),
        (s["items_purged"], "items were purged from one of the caches and are left out"),
        (len(s["listing_conflicts"]), "listings say different things: the last is in force"),
    ):
        if count:
            say(console, f"{count} {text}")
    show_lines(console, (f"{c['source']}: {c['path']}" for c in s["listing_conflicts"]), SHOWN_LINES)


def show_export(console: "Console", summary: Mapping[str, Any]) -> None:
    """Where everything is."""
    counts = f"{summary['items']} items, {summary['rows']} rows, {summary['bytes'] / 1e6:.1f} MB"
    say(console, f"{summary['out']}: {counts}, {summary['format']}")
    show_lines(console, summary["tables"])


def show_purge(console: "Console", summary: Mapping[str, Any]) -> None:
    """What went, or would go, and where else it is."""
    s = summary
    say(
        console,
        f"{s['cache']}: {s['items']} items with {s['rows']} rows {'would go' if s['dry_run'] else 'are gone'}, with "
        f"{s['listings']} lines of listings and {s['failures']} of failures; shards: {s['shards_replaced']} replaced, "
        f"{s['shards_removed']} removed",
    )
    show_lines(console, s["listed_as"], SHOWN_LINES)
    if s["ignored"]:
        went = "would go" if s["dry_run"] else "are gone"
        say(
            console,
            f"{counted(s['ignored'], 'line')} of ignored.jsonl {went}, since nobody can tell whose these files are; "
            "the next extract-features writes what it finds",
        )
    if s["unlisted"]:
        say(
            console,
            f"{s['unlisted']} items are listed nowhere, as clips that were cut off are: nobody knows whose",
        )
    if s["traces"]:
        say(console, "They also turn up in what follows, which was not altered:")
        show_lines(console, (f"{t['kind']} {t['path']}: {t['detail']}" for t in s["traces"]))
