"""What a score means, in the words that every output uses. They follow what the head has learned."""

from collections.abc import Sequence

from facedep_jax.text_escaping import printable


def either(names: Sequence[str]) -> str:
    """`happy`, `neutral or sad`, `fear, neutral or sad`; names from outside are escaped."""
    shown = [printable(name) for name in names]
    return " or ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def meaning(positive: Sequence[str]) -> str:
    """What the score of a head is whose positives are these labels."""
    return (
        f"A score is that of a proxy: how much a face looks like those that were labelled {either(positive)}. "
        "It is not a diagnosis, and not a measure of how anyone feels."
    )


def behaviour(positive: Sequence[str] = ()) -> str:
    """What descriptors of behaviour are, by a head whose positives are these labels; by none without a head."""
    said = "Descriptors say how a face moved in the picture while it was seen"
    if not positive:
        return f"{said}. They are not a diagnosis, and not a measure of how anyone feels."
    return f"{said}, and which labels it looked like. {meaning(positive)}"


INTENDED_USE = (
    "Research on facial expression, with people who have agreed to it, on pictures like those that it was trained on."
)
NOT_FOR = (
    "Identifying people. Diagnosis, screening or treatment. Decisions about hiring, work, schooling, insurance or "
    "credit. Policing, border control or surveillance."
)
UNTRAINED = "UNTRAINED WEIGHTS: scores mean nothing"
