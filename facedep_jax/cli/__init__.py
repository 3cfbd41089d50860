"""The command line: parse → call → render. Knows nothing of how anything is done."""

import click

from facedep_jax import __version__
from facedep_jax.cli import (
    cache,
    demo,
    describe,
    evaluate,
    export_onnx,
    extract_features,
    import_features,
    labels,
    monitor,
    predict,
    score_videos,
    study,
    train_cnn,
    train_head,
    weights,
)
from facedep_jax.cli.command import CommandLine

# No docstring: `python -OO` would leave it out.
HELP = """Facial expression as a proxy for depressed affect: features once, heads often, scores offline.

What comes out scores a proxy: how much a face looks like those with some labels, by default sad and neutral. It is
not a diagnosis.
"""


@click.group(
    cls=CommandLine, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="facedep-jax")
def main() -> None:
    """Run the command line."""


for _command in (
    extract_features.extract_features,
    import_features.import_features,
    train_head.train_head,
    evaluate.evaluate,
    labels.labels,
    predict.predict,
    train_cnn.train_cnn,
    score_videos.score_videos,
    describe.describe,
    study.study,
    monitor.monitor,
    cache.caches,
    demo.demo,
    export_onnx.export,
    weights.weights,
):
    main.add_command(_command)
