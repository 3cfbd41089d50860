"""Sampled frames of a face → how it behaved: a few dozen numbers a clip and a person, each defined in seconds.

docs/descriptors.md defines them. Knows nothing of training, and judges nobody.
"""
