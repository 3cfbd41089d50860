"""The options of `train-head`, by heading. Each has the name of the setting that it sets, and no default of its own."""

from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)


def option(*names: str, **attributes: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, attributes


class GroupedCommand(click.Command):
    """A command whose help has one list of options per group, in the order in which they come; others come last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", ""), []).append(record)
        others = groups.pop("", [])
        for heading, records in [*groups.items(), ("Other options", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)


def options_of(group: str, *options: tuple[tuple[str, ...], dict[str, Any]]) -> list[Any]:
    """Decorators for the options of one group, each given as its names and its attributes."""
    return [click.option(*names, cls=GroupedOption, group=group, **attributes) for names, attributes in options]


class GroupedOption(click.Option):
    """An option that `--help` shows under the heading `group`."""

    def __init__(self, *names: Any, group: str, **attributes: Any):
        super().__init__(*names, **attributes)
        self.group = group


WHERE = options_of(
    "Where",
    option("--out", type=PATH, metavar="RUN", help="Where the run goes.  [default: runs/<name of the cache>]"),
    option(
        "--config",
        type=PATH,
        metavar="FILE",
        help="TOML with a table [train]. RUN/config.toml repeats a run, on its own caches if none is given.",
    ),
    option("--resume", is_flag=True, help="Go on with a run that was killed, to the same numbers."),
)
WHAT = options_of(
    "What is learned",
    option(
        "--target", type=click.Choice(["proxy", "emotion"]), help="Two classes, or one per emotion.  [default: proxy]"
    ),
    option(
        "--positive",
        metavar="A,B",
        help="Emotions that count as positive. With --target emotion they can be changed after training.  "
        "[default: sad,sadness,neutral]",
    ),
    option(
        "--labels",
        type=click.Path(dir_okay=False),
        metavar="CSV",
        help="Columns path or item, and emotion, subject or split, that replace those of the listings.",
    ),
    option("--allow-duplicates", is_flag=True, default=None, help="Equal items in two splits do not stop training."),
)
HEAD = options_of(
    "The head",
    option("--preset", type=click.Choice(["tiny", "base", "large"]), help="Its size.  [default: base]"),
    option("--taps", metavar="T,T", help="Only these taps of the cache.  [default: all]"),
    option(
        "--temporal",
        type=click.Choice(["none", "transformer", "gru"]),
        help="What mixes the frames of a clip; none takes the mean of their logits.  [default: none]",
    ),
    option(
        "--window",
        type=float,
        metavar="S",
        help="Cut clips into windows of S seconds; a clip's logit is the mean of theirs.  [default: whole clips, of "
        "which at most 128 frames are taken]",
    ),
)
MANY = options_of(
    "Many at once",
    option("--seeds", type=int, metavar="N", help="Heads to train; the run's is their mean logit.  [default: 4]"),
    option("--seed", type=int, metavar="N", help="What all randomness starts from.  [default: 0]"),
    option("--folds", type=int, metavar="K", help="Also cross-validate over K folds of subjects in train and val."),
    option(
        "--grid-search",
        type=PATH,
        metavar="FILE",
        help="TOML with a table [grid] of lists of settings; the best combination is taken, by validation or, with "
        "--folds, by cross-validation.",
    ),
)
COURSE = options_of(
    "How it is trained",
    option("--epochs", type=int, metavar="N", help="[default: 30]"),
    option("--patience", type=int, metavar="N", help="Epochs without a better validation AUC.  [default: 10]"),
    option("--batch-size", type=int, metavar="N", help="[default: 128]"),
    option("--learning-rate", type=float, metavar="X", help="Its peak.  [default: 3e-4]"),
    option("--warmup", type=float, metavar="X", help="Part of all steps until the peak.  [default: 0.1]"),
    option("--weight-decay", type=float, metavar="X", help="[default: 1]"),
    option("--dropout", type=float, metavar="X", help="[default: 0.5]"),
    option("--feature-dropout", type=float, metavar="X", help="Part of the cells that is dropped whole.  [default: 0]"),
    option("--label-smoothing", type=float, metavar="X", help="[default: 0]"),
    option("--clip-norm", type=float, metavar="X", help="Longest gradient.  [default: 1]"),
    option(
        "--balanced/--unbalanced",
        default=None,
        help="Whether positives and the others weigh the same.  [default: balanced]",
    ),
    option(
        "--stream/--no-stream",
        default=None,
        help="Read features in blocks instead of holding them.  [default: where memory is short]",
    ),
)
JUDGED = options_of(
    "How it is judged",
    option(
        "--baselines",
        type=click.Choice(["none", "quick", "full"]),
        help="quick: majority and linear probes; full: the earlier prototype's model too.  [default: quick]",
    ),
    option("--resamples", type=int, metavar="N", help="Of the bootstrap over subjects.  [default: 2000]"),
)
TRAIN_OPTIONS = [
    click.argument("caches", nargs=-1, type=PATH, metavar="[CACHE...]"),
    *WHERE,
    *WHAT,
    *HEAD,
    *MANY,
    *COURSE,
    *JUDGED,
]
