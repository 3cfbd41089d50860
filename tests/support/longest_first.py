"""In which order test files are begun where several processes share them: the longest must not come last."""

import pytest
from support.paths import ROOT

LONGEST = (
    "test_documents.py", "soak/test_soak.py", "onnx_export/test_export.py", "cli/test_environments.py",
    "training/test_clip_pooling.py", "extraction/test_distributed.py", "cli/test_cli.py", "study/test_study.py",
    "training/test_train.py", "every_command/test_outputs.py", "monitor/test_monitor.py", "test_release.py",
    "soak/test_strangers.py", "cnn/test_cnn.py", "tools/test_bench.py", "scoring/test_score_videos.py",
    "api/test_functions.py", "training/test_data_loader.py", "scoring/test_one_estimator.py",
    "backbones/test_engines.py", "media/test_clip_matrix.py",
)  # fmt: skip


def longest_first(items: list[pytest.Item]) -> None:
    """Sort `items` so that files of `LONGEST` lead, in that order; else nothing moves."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
