"""What a score means, in the words that every output uses. They follow what the head has learned."""

from collections.abc import Sequence

from facedep_jax.text_escaping import printable

SAD = ("sad", "sadness")  # runs of earlier versions have either word

OTHER = "other"


def either(names: Sequence[str]) -> str:
    """`happy`, `sad or neutral`, `sad, fear or neutral`; names from outside are escaped."""
    shown = [printable(name) for name in sorted(names, key=lambda name: name not in SAD)]
    return " or ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def sides(positive: Sequence[str]) -> tuple[str, str]:
    """What a person reads of positive and negative: `sad-or-neutral` and `other`, by the labels that count as positive.

    Tables and JSON keep positive and negative, whatever the labels are.
    """
    return either(positive).replace(", ", "-").replace(" ", "-") or "positive", OTHER


def in_words(decision: str, positive: Sequence[str]) -> str:
    """A decision as a person reads it; what is none stays as it is."""
    return dict(zip(("positive", "negative"), sides(positive), strict=True)).get(decision, decision)


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
