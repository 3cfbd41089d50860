"""In which order test files are begun where several processes share them: the longest must not come last."""

import pytest
from support.paths import ROOT

LONGEST = (
    "training/test_train.py", "onnx_export/test_export.py", "soak/test_soak.py", "training/test_data_loader.py",
    "extraction/test_distributed.py", "training/test_clip_pooling.py", "head/test_temporal.py", "cli/test_cli.py",
    "baselines/test_baselines.py", "scoring/test_score_videos.py", "evaluation/test_items_and_persons.py",
    "cli/test_environments.py", "cnn/test_cnn.py", "head/test_model.py", "training/test_fit.py", "tools/test_bench.py",
    "backbones/weights/test_diagnostics.py", "backbones/test_engines.py", "monitor/test_monitor.py",
    "backbones/test_keras_parity.py", "media/test_clip_matrix.py",
)  # fmt: skip


def longest_first(items: list[pytest.Item]) -> None:
    """Sort `items` so that files of `LONGEST` lead, in that order; else nothing moves."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
