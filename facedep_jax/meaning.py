"""What a score means, in the words that every output uses."""

MEANING = (
    "A score is that of a sad-or-neutral-expression proxy: how much a face looks like those that raters called so. "
    "It is not a diagnosis, and not a measure of how anyone feels."
)
UNTRAINED = "UNTRAINED WEIGHTS: scores mean nothing"
