"""Persons as the units of a study: what was predicted of each, compared with what they are. It learns nothing."""
