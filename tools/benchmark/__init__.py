"""The parts of `tools/bench.py`: who takes part, in which order, and what is made of the seconds."""
