"""What untrained networks give for made-up pixels does not change unless it is meant to (tools/make_golden.py)."""

import importlib.util
import json
import runpy

import numpy as np
import pytest
from support.paths import ROOT

maker = runpy.run_path(str(ROOT / "tools" / "make_golden.py"))


@pytest.mark.parametrize("engine", ["xla", "openvino"])
def test_features_are_golden(engine):
    if importlib.util.find_spec("openvino") is None and engine == "openvino":
        pytest.skip("openvino is not installed")
    golden = json.loads((ROOT / "tests" / "golden" / "features.json").read_text())
    found = maker["features"](engine)
    assert found.keys() == golden.keys()
    for tap, rows in golden.items():
        np.testing.assert_allclose(found[tap], rows, rtol=2e-3, atol=2e-3, err_msg=tap)
        assert np.std(rows, axis=0).max() > 0.05, f"{tap} says the same of both pictures"
