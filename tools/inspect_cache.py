"""`cli cache inspect` as a program: python tools/inspect_cache.py CACHE [--json]."""

import sys

from facedep_jax.cli import main

main(["cache", "inspect", *sys.argv[1:]])
