"""Training on clips with all their windows, which attention pools."""
