"""Features that others measured → taps of a cache: tables and arrays, read as their makers describe them.

docs/import.md names the descriptions. Knows no pictures, no networks, and nothing of what labels mean.
"""
