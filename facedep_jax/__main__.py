"""`python -m facedep_jax` is the command line."""

from facedep_jax.cli import main

main()
