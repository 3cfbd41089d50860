"""Pictures and pages made of results. They know nothing of how results came about."""

import os
import sys

from facedep_jax.file_system import user_cache

# matplotlib keeps a list of fonts; without this it would write into a directory of its own.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache() / "matplotlib"))

if (_backend := os.environ.get("MPLBACKEND")) and "matplotlib" not in sys.modules:
    # It may name what is not there, as in a terminal that a notebook server opened, and then matplotlib cannot be
    # imported. Figures here are Agg's whatever it says; where it names something, a notebook's own figures need it.
    del os.environ["MPLBACKEND"]
    import matplotlib

    try:
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"] = _backend
    except ValueError:
        os.environ["MPLBACKEND"] = "agg"
