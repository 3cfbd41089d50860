"""Pictures and pages made of results. They know nothing of how results came about."""

import os

from facedep_jax.file_system import user_cache

# matplotlib keeps a list of fonts; without this it would write into a directory of its own.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache() / "matplotlib"))
