"""Weight files: found, fetched, read, checked and diagnosed. They know no file but those of weights."""
