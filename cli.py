"""Runs the command line from a checkout: `python cli.py --help`."""

from facedep_jax.cli import main

if __name__ == "__main__":
    main(prog_name="python cli.py")
