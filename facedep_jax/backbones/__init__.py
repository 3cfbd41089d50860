"""Frames → features: two frozen ImageNet networks, their weights, and the engines that run them.

Nothing is imported here, so that names and settings (`taps`) can be read without loading jax:
`taps` says what may be asked for, `weights` finds and checks the files, `engines` compute.
"""
