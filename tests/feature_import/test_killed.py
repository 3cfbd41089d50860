"""An import that is killed and run again leaves the cache of one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.made_corpora import openface
from support.paths import ROOT

from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings

CLIPS, FRAMES, SHARD = 6, 400, 150
NAME = "openface:au,openface:pose,openface:landmarks"


def settings():
    return ImportSettings("openface", NAME, shard_rows=SHARD)


def killed_import(source, out, shards):
    """A process that imports, killed by SIGKILL once so many shards are there."""
    options = ["--format", "openface", "--name", NAME, "--shard-rows", str(SHARD), "--out", str(out)]
    command = [sys.executable, "-m", "facedep_jax", "import-features", str(source), *options]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL) as child:
        begun = time.monotonic()
        while child.poll() is None and len(list(out.glob("shards/*.h5"))) < shards:
            assert time.monotonic() - begun < 120
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    return len(list(out.glob("shards/*.h5")))


@pytest.mark.parametrize("shards", [5, *(pytest.param(shards, marks=pytest.mark.exhaustive) for shards in (1, 9))])
def test_killed_and_run_again_is_as_never_killed(shards, tmp_path):
    source = openface(tmp_path / "s", CLIPS, FRAMES)
    whole = -(-CLIPS * FRAMES // SHARD)
    left = killed_import(source, tmp_path / "killed", shards)
    assert left < whole, "it was not killed in the middle"
    summary = import_features(source, tmp_path / "killed", settings())
    assert summary["items_failed"] == 0
    assert summary["rows"] < CLIPS * FRAMES  # the rest alone
    import_features(source, tmp_path / "never", settings())
    assert diff_caches(tmp_path / "killed", tmp_path / "never") == {"equal": True, "differences": []}
    assert verify_cache(tmp_path / "killed")["ok"]
