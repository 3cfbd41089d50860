"""The options of `evaluate`. They know nothing of what is measured."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)

EVALUATE_OPTIONS = [
    click.argument("run", type=PATH),
    click.argument("cache", type=PATH),
    click.option("--split", default="test", show_default=True, help="train, val, test or all."),
    click.option(
        "--positive",
        metavar="A,B",
        help="Other positive emotions than the run's; a head trained with --target emotion scores by them too.",
    ),
    click.option(
        "--labels",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="CSV",
        help="Corrected emotions or subjects, and further columns, by path or item.",
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="COLUMN",
        help="Compare the groups of a column; may be repeated.  [default: every column of 2 to 12 values]",
    ),
    click.option(
        "--second-label",
        metavar="COLUMN",
        help="Another rater's emotions.  [default: emotion2, emotion3, … or label2, …]",
    ),
    click.option("--prevalence", metavar="P,P", help="Also give predictive values where a part P is positive."),
    click.option(
        "--against", type=PATH, metavar="RUN2", help="Compare with another run, also of train-cnn, on the same items."
    ),
]
