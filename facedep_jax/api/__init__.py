"""The commands as functions, for notebooks and scripts. Knows nothing of how anything is done, nor of flags.

`facedep_jax` has them by their names and loads them on first use; docs/python.md shows each.
"""
