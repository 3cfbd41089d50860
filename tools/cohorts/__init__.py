"""Cohorts of simulated persons, whose frames are of real faces: what was planted in them is known."""
