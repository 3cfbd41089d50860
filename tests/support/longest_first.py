"""In which order test files are begun where several processes share them: the longest must not come last."""

import pytest
from support.paths import ROOT

LONGEST = (
    "test_documents.py", "onnx_export/test_export.py", "soak/test_soak.py", "cli/test_environments.py",
    "training/test_clip_pooling.py", "test_release.py", "training/test_train.py", "training/test_beside.py",
    "monitor/test_monitor.py", "study/test_study.py", "extraction/test_distributed.py", "cli/test_cli.py",
    "backbones/test_engines.py", "scoring/test_score_videos.py", "cnn/test_cnn.py", "every_command/test_outputs.py",
    "media/test_clip_matrix.py", "tools/test_tools.py", "soak/test_strangers.py",
)  # fmt: skip


def longest_first(items: list[pytest.Item]) -> None:
    """Sort `items` so that files of `LONGEST` lead, in that order; else nothing moves."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
