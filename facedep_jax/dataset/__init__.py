"""Caches and labels → arrays to learn from and to judge by. It knows nothing of models."""
