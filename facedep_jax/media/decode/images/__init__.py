"""Bytes of one image → pixels as they are stored, each format in its own way. Knows nothing of faces or crops."""
