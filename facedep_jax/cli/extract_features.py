"""`extract-features`."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, Work, all_failed, load_jax
from facedep_jax.cli.grouped_options import GroupedCommand, GroupedOption
from facedep_jax.cli.terminal.tables import SHOWN_LINES, facts_table, say, show_lines, show_table, show_warning
from facedep_jax.progress_events import Note, Report
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from rich.console import Console

    from facedep_jax.extraction.files_summary import FilesSummary


where = partial(click.option, cls=GroupedOption, group="Where, and who is who")
networks = partial(click.option, cls=GroupedOption, group="Networks, and what is kept of them")
faces = partial(click.option, cls=GroupedOption, group="Faces")
speed = partial(click.option, cls=GroupedOption, group="How it is computed")


def several(*names: str, **attributes: Any) -> Callable[[Work], Work]:
    """An option of networks that may be repeated, None where it is not given."""
    return networks(*names, multiple=True, callback=lambda _context, _option, given: given or None, **attributes)


_INPUT_OPTIONS = (
    networks(
        "--weights",
        metavar="DIR|random:SEED",
        help="Folder with one weights file per backbone, found by "
        "content. Without it the official Keras files are downloaded once. random:SEED tries the machinery.",
    ),
    networks("--engine", metavar="NAME", help="auto, xla or openvino.  [default: auto]"),
    several(
        "--backbone",
        metavar="NAME=FILE.onnx[:OUTPUT]",
        help="A network of your own, which may be repeated. In scoring: where the run's lies, if it has moved.  "
        "[default: none]",
    ),
    faces(
        "--faces",
        type=click.Choice(["none", "auto", "yunet", "haar"]),
        help="Find and crop faces first.  [default: none for images, auto for clips]",
    ),
    faces(
        "--detector-model",
        type=click.Path(dir_okay=False),
        help="YuNet's ONNX file.  [default: what --weights or the user's cache hold]",
    ),
    faces(
        "--face-policy",
        type=click.Choice(["largest", "central", "track"]),
        help="Whose face, where there are several; track follows one person.  "
        "[default: largest for images, track for clips]",
    ),
    faces(
        "--align/--no-align",
        default=None,
        help="Turn faces upright by eyes, nose and mouth (YuNet).  [default: no; in scoring, as the run learned]",
    ),
    faces(
        "--min-face",
        type=float,
        metavar="PIXELS",
        help="Smaller faces are left out as too small.  [default: 36]",
    ),
)
MARGIN = faces(
    "--margin",
    type=float,
    help="Room around a found face, as a part of its size.  [default: 0 for YuNet, 0.05 for Haar]",
)


EMOTION_CODES = where(
    "--emotion-codes",
    type=click.Choice(["affectnet", "fer2013", "raf-db", "ck+"]),
    help="Whose numbers the emotions are, where they are numbers; `labels` shows them.  [default: they are words]",
)


def input_options(work: Work) -> Work:
    """How weights and faces are found: options of every command that computes features."""
    for option in reversed(_INPUT_OPTIONS):
        work = option(work)
    return work


@click.command("extract-features", cls=GroupedCommand, short_help="Run frozen backbones once over images and clips.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@where(
    "--out",
    type=PATH,
    metavar="CACHE",
    help="Where the cache goes.  [default: cache/<name of the source>]",
)
@where("--config", type=FILE, help="TOML with a table [extract].  [default: none]")
@where(
    "--subjects",
    type=FILE,
    help="Table with columns path (relative to the source) and subject.  [default: nobody is known]",
)
@where("--subject-regex", metavar="RE", help="The first group found in a path is its subject.  [default: none]")
@EMOTION_CODES
@where("--limit", type=int, metavar="N", help="Only N of the files, spread over splits and emotions.  [default: all]")
@input_options
@networks(
    "--taps",
    help="What to keep, such as mobilenet_v2:mid@3,resnet50:top@1.  [default: mobilenet_v2:neck@7,resnet50:neck@4]",
)
@networks("--size", help="Input size, 224 or mobilenet_v2=224,resnet50=96; multiples of 32.  [default: 224]")
@several(
    "--backbone-input",
    metavar="NAME=KEY:VALUE,...",
    help="How crops enter it: size:224, mean:0.485/0.456/0.406, std:…, order:rgb|bgr, range:1|255, layout:nchw|nhwc, "
    "tokens:N|class.  [default: sizes as the file has them, ImageNet's mean and std of 0..1, rgb]",
)
@networks(
    "--precision", type=click.Choice(["float32", "bfloat16", "int8"]), help="Of the networks.  [default: float32]"
)
@networks("--color", type=click.Choice(["rgb", "grey"]), help="grey: colours are taken away.  [default: rgb]")
@networks(
    "--flip",
    is_flag=True,
    default=None,
    help="Keep mirrored views as well, in twice the time: training then sees either.  [default: no]",
)
@MARGIN
@speed("--fps", type=float, help="Frames sampled a second of a clip.  [default: 4]")
@speed("--batch-size", type=int, help="Images a batch.  [default: 32]")
@speed("--shard-rows", type=int, help="Rows after which a shard is closed.  [default: 2048]")
@speed("--retry-failed", is_flag=True, default=None, help="Try again what failed before.  [default: no]")
@speed("--rehash", is_flag=True, default=None, help="Read unchanged files again, too.  [default: no]")
@speed(
    "--workers", type=int, metavar="N", help="Compute in N processes of this machine (extra: cluster).  [default: 1]"
)
@speed(
    "--scheduler",
    metavar="ADDRESS|FILE",
    help="Compute on a running dask.distributed cluster (extra: cluster).  [default: none]",
)
@speed(
    "--insecure", is_flag=True, default=None, help="Let --scheduler be another machine's without TLS.  [default: no]"
)
def extract_features(
    report: Report,
    sources: tuple[str, ...],
    out: Path | None,
    config: Path | None,
    subjects: Path | None,
    subject_regex: str | None,
    emotion_codes: str | None,
    **given: Any,
) -> CommandResult:
    """Run frozen MobileNetV2, ResNet50 and any --backbone once over every image and sampled frame; keep the features
    in a cache.

    SOURCE is a folder (split/emotion/file, emotion/file or plain files), a glob, a table (CSV, TSV, XLSX, Parquet
    or JSON lines) with a column path, tfds:NAME[/CONFIG]:SPLIT (prepared as array records), or kaggle:OWNER/DATASET
    (extra: kaggle). A file that is neither image nor clip is ignored: CACHE/ignored.jsonl names it and says why.
    Running the same command again continues; nothing that is in the cache is computed twice.
    Exit status 3: an image or clip has failed, for instance as its kind is not read.
    """
    from facedep_jax.backbones.engines import shorter_saves
    from facedep_jax.extraction.extract import extract
    from facedep_jax.extraction.plan import begin_reading_weights
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.sources import read_sources, say_source
    from facedep_jax.toml_settings import resolve

    settings = resolve(ExtractSettings, "extract", config, given)
    if not settings.scheduler:  # on a cluster the workers look at theirs
        load_jax(report, ahead=partial(begin_reading_weights, settings))
    found = read_sources(
        sources, subjects=subjects, subject_regex=subject_regex, emotion_codes=emotion_codes, report=report
    )
    for source in found:
        say_source(source, report)
    out = out or Path("cache") / found[0].name
    begins = not settings.elsewhere and not os.path.exists(out / "cache.json")  # no error for a name that is too long
    if said := shorter_saves(settings.engine, settings.precision, bool(settings.backbone)) if begins else "":
        report(Note(said))
    summary = extract(found, out, settings, report)
    return files_result(summary, show_extraction)


def files_result(summary: "FilesSummary", show: Callable[["Console", Mapping[str, Any]], None]) -> CommandResult:
    """The result of a command that fills a cache: files that fail are problems, and so is nothing in the cache."""
    failed = [(failure["path"], failure["reason"]) for failure in summary["failures"]]
    nothing_done = "" if summary["items_new"] + summary["items_reused"] else all_failed(failed)
    return CommandResult(summary, show, bool(failed or summary["segments_failed"]), nothing_done)


def show_extraction(console: "Console", summary: Mapping[str, Any]) -> None:
    """The summary of an extraction as a table, failures below it."""
    facts = [
        ("items", summary["items_total"]),
        ("new", summary["items_new"]),
        ("reused", summary["items_reused"]),
        ("failed", summary["items_failed"]),
        *([("segments", summary["segments"])] if summary["segments"] else []),
        ("files ignored", summary["items_ignored"]),
        ("rows written", summary["rows"]),
        ("images/s", summary["images_per_second"]),
        ("seconds", summary["seconds"]),
        ("engine", summary["engine"]),
        ("precision", summary["precision"]),
        *([("purged before", summary["items_purged"])] if summary["items_purged"] else []),
        ("waited for", ", ".join(f"{stage} {s:.1f} s" for stage, s in summary["waited_seconds"].items())),
        *((tap, "×".join(map(str, shape))) for tap, shape in summary["features"].items()),
    ]
    show_table(console, facts_table(f"cache {summary['cache']}", facts))
    show_files(console, summary)
    show_warning(console, summary)


def show_files(console: "Console", summary: Mapping[str, Any]) -> None:
    """Files that failed, are odd, or were passed over, and where all of them are."""
    from rich.markup import escape

    for failure in summary["failures"][:20]:
        console.print(
            f"[red]failed[/] {escape(printable(failure['path']))}: {escape(printable(failure['reason']))}",
            soft_wrap=not console.is_terminal,
        )
    if len(summary["failures"]) > 20:
        say(console, f"… and {len(summary['failures']) - 20} more, all in {summary['cache']}/failures.jsonl")
    wrong = (f"failed {fault['segment']}: {fault['reason']}" for fault in summary["segments_failed"])
    show_lines(console, wrong, SHOWN_LINES)
    if odd := summary["files_odd"]:
        say(
            console,
            f"files with something odd, mended or left out: {odd:,}; `decoding` in {summary['cache']}/listings.jsonl "
            "says what",
        )
    _show_ignored(console, summary)


def _show_ignored(console: "Console", summary: Mapping[str, Any]) -> None:
    """The first files that were passed over, and where all of them are."""
    named = summary["ignored"]
    several = len({file["source"] for file in named}) > 1
    for file in named:
        path = os.path.join(file["source"], file["path"]) if several else file["path"]
        say(console, f"ignored {path}: {file['reason']}")
    if named:
        rest = summary["items_ignored"] - len(named)
        say(console, f"{f'… and {rest:,} more, ' if rest else ''}all in {summary['ignored_in']}")
