"""Caches looked into and mended: inspect, verify, repair, merge, purge, export. What labels mean is unknown here."""
