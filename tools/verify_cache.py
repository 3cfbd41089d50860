"""`cli cache verify` as a program: python tools/verify_cache.py CACHE [--json]."""

import sys

from facedep_jax.cli import main

main(["cache", "verify", *sys.argv[1:]])
