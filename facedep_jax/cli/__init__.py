"""The command line: parse → call → render. Knows nothing of how anything is done."""

import click

from facedep_jax import __version__
from facedep_jax.cli import cache, demo, export, monitor, scoring, stage_one, stage_two, train_cnn, weights


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="facedep-jax")
def main() -> None:
    """Facial expression as a proxy for depressed affect: features once, heads often, scores offline.

    What comes out scores a sad-or-neutral-expression proxy. It is not a diagnosis.
    """


for _module in (stage_one, stage_two, train_cnn, scoring, monitor, cache, demo, export, weights):
    _module.add_to(main)
