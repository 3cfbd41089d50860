"""How well scores match labels, with intervals. It knows nothing of how scores came about."""
