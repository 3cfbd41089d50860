"""Soak programs: accidents done to caches again and again, and what must hold of a cache after each of them."""
