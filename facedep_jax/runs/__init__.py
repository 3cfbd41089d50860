"""A run's directory: what is read from it, kept in it and gone on with. Nothing here trains."""
