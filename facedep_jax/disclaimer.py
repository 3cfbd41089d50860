"""What a score means, in the words that every output uses."""

MEANING = (
    "A score is that of a sad-or-neutral-expression proxy: how much a face looks like those that raters called so. "
    "It is not a diagnosis, and not a measure of how anyone feels."
)
INTENDED_USE = (
    "Research on facial expression, with people who have agreed to it, on pictures like those that it was trained on."
)
NOT_FOR = (
    "Identifying people. Diagnosis, screening or treatment. Decisions about hiring, work, schooling, insurance or "
    "credit. Policing, border control or surveillance."
)
UNTRAINED = "UNTRAINED WEIGHTS: scores mean nothing"
