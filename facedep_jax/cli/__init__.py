"""The command line: parse → call → render. Knows nothing of how anything is done."""

import click

from facedep_jax import __version__
from facedep_jax.cli import (
    cache,
    demo,
    export_onnx,
    extract_features,
    monitor,
    score_videos,
    train_cnn,
    train_evaluate_predict,
    weights,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="facedep-jax")
def main() -> None:
    """Facial expression as a proxy for depressed affect: features once, heads often, scores offline.

    What comes out scores a sad-or-neutral-expression proxy. It is not a diagnosis.
    """


for _module in (
    extract_features,
    train_evaluate_predict,
    train_cnn,
    score_videos,
    monitor,
    cache,
    demo,
    export_onnx,
    weights,
):
    _module.add_to(main)
