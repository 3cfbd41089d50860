"""The frames that moved scores most, as faces on a page, and whether their shading can be believed.

It knows numbers and pictures, not where they came from.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facedep_jax.report.document import Block, interval, sign
from facedep_jax.text_escaping import printable

SIDE = 128  # pixels across a face
STRONGEST = 0.55  # opacity of the place of a face that counts most


def faces_of(
    scored: Sequence[Any], moments: Sequence[Sequence[Any]], picture: Callable[[str, int, int], bytes | None]
) -> list[dict[str, Any]]:
    """The frames of each clip whose crops are kept, with squares as strong as their shading."""
    found = []
    for one, each in zip(scored, moments, strict=True):
        jpegs = [(moment, picture(one.item, moment.number, SIDE)) for moment in each]
        faces = [_face(moment, jpeg) for moment, jpeg in jpegs if jpeg]
        if faces:
            found.append({"name": one.clip.clip, "faces": faces})
    return found


def _face(moment: Any, jpeg: bytes) -> dict[str, Any]:
    cells, strongest = moment.shading.shape[0], float(moment.shading.max()) or 1.0
    width = SIDE / cells
    places = [
        {
            "x": round(column * width, 2),
            "y": round(row * width, 2),
            "width": round(width, 2),
            "opacity": round(STRONGEST * float(moment.shading[row, column]) / strongest, 2),
        }
        for row in range(cells)
        for column in range(cells)
    ]
    caption = f"{moment.time:.1f} s: {moment.probability:.3f} ({sign(moment.moved)})"
    jpeg64 = base64.b64encode(jpeg).decode()
    return {"jpeg": jpeg64, "places": places, "caption": caption, "label": f"face at {moment.time:.1f} s"}


def deletion_blocks(found: Mapping[str, Any] | None, folder: Path) -> tuple[Block, ...]:
    """What the shading is, whether it can be believed, and where the faces lie."""
    shading = (
        "Below each face: its time, its score, and by how much it moved the clip's score. The stronger the colour of a "
        "square, the more attention the head gave to it, summed over taps, times how far the logit hangs on it (its "
        "gradient); each face has a scale of its own. What concerns the face as a whole is not drawn."
    )
    personal = (
        f"These faces are personal data. They are in this page and, larger, in {printable(str(folder))}, which only "
        "you may open. Remove both when they are not needed any more: cache purge names them and removes neither."
    )
    return (shading, *((deletion_sentence(found),) if found else ()), personal)


def deletion_sentence(found: Mapping[str, Any]) -> str:
    """The figures of the deletion check and what they allow to be said, whichever way they fall."""
    shading, alone = found["shading"], found["attention"]
    said = (
        f"Checked by deletion in {found['frames']} frames of {found['groups']} clips or subjects: covering the "
        f"{found['covered']} of {found['places']} squares with the strongest colour moves the logit by "
        f"{shading['moved']:.3f} on average, covering {found['covered']} drawn at random by "
        f"{found['moved_at_random']:.3f}"
    )
    ends = shading["ratio_ci"]
    if ends is None:
        return f"{said}. {_why_open(found)}"
    said += f", {shading['ratio']:.2f} times as much (95 %, by those: {interval(ends, 2)}). "
    if ends[0] > 1:
        said += "So the coloured squares matter more to the head than others do."
    elif ends[1] < 1:
        said += "So the coloured squares matter less than others do: do not read them as what decided."
    else:
        said += "So it cannot be said that the coloured squares matter more than others."
    alone_ends = "" if alone["ratio_ci"] is None else f" ({interval(alone['ratio_ci'], 2)})"
    return f"{said} Attention alone, without the gradient, reaches {alone['ratio']:.2f} times{alone_ends}."


def _why_open(found: Mapping[str, Any]) -> str:
    """Why nothing is concluded."""
    fewest = found["fewest_groups"]
    if found["groups"] < fewest:
        return f"Fewer than {fewest} clips are too few to say whether the colours point at what matters."
    return "Covering one or the other moves nothing, so their ratio says nothing of where the colours point."
