"""`tfds:NAME[/CONFIG][:VERSION]:SPLIT` → listings, through `tfds.data_source`. Knows nothing of what labels mean.

Data sets prepared as array records are read without TensorFlow. Which feature is the image and which the label is found
in the data set's own description.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from facedep_jax.errors import SourceError
from facedep_jax.file_system import user_cache
from facedep_jax.progress_events import Note, Report
from facedep_jax.sources.listing_types import Listing, Listings, Source, passed_over
from facedep_jax.sources.tfds_files import Roles, one_line, split_of, stored

_NAMED = re.compile(r"tfds:([\w-]+(?:/[\w.-]+)?)(?::(\d+\.\d+\.\d+))?:(.+)")
_LABELS = ("label", "emotion", "expression")
_SUBJECTS = ("subject", "subject_id", "person", "person_id", "identity")


def list_tfds(source: str, report: Report) -> Source:
    """What `source` names. Raises SourceError for what is not prepared, not as array records, or without an image."""
    name, version, split = _parsed(source)
    builder = _builder(source, _prepared(source, name, version))
    roles = _roles(source, builder.info)
    where = f"tfds:{builder.info.full_name}:{split}"
    listings: list[Listing] = []
    for part in _splits(source, builder.info, split):
        folder = user_cache() / "tfds" / quote(builder.info.full_name, safe="/") / quote(part, safe="")
        report(Note(f"{where}: images of {part} are copied to {folder}, once"))
        listings += stored(source, builder, part, roles, folder)
    label = f"emotion from {roles.emotion!r}" if roles.emotion else "no label feature"
    subject = f", subject from {roles.subject!r}" if roles.subject else ""
    used = {roles.image, roles.emotion, roles.subject, *roles.others}
    left = ", ".join(name for name in builder.info.features if name not in used)
    layout = f"image from {roles.image!r}, {label}{subject}{left and f'; features not used: {left}'}"
    return Source(builder.info.full_name.split("/")[0], where, Listings.of(listings), passed_over(()), True, layout)


def _parsed(source: str) -> tuple[str, str | None, str]:
    parts = _NAMED.fullmatch(source)
    if not parts:
        raise SourceError(f"{source}: expected tfds:NAME[/CONFIG]:SPLIT, such as tfds:faces:train or tfds:faces:all")
    return parts[1], parts[2], parts[3]


def _prepared(source: str, name: str, version: str | None) -> Path:
    """The folder of the prepared data set. Raises SourceError saying where it was looked for and how to prepare it."""
    home = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    folder = home / name
    found = {path.parent.name: path.parent for path in folder.glob("*/dataset_info.json")}
    if version in found or (found and version is None):
        return found[version or max(found, key=_order)]
    if found:
        raise SourceError(
            f"{source}: version {version} is not prepared; there are {', '.join(sorted(found))} in {folder}"
        )
    configs = sorted({path.parts[-3] for path in folder.glob("*/*/dataset_info.json")})
    if configs:
        raise SourceError(f"{source}: {name} is prepared in several configurations; name one: {', '.join(configs)}")
    raise SourceError(
        f"{source}: {name} is not prepared below {home}. Prepare it once, with whatever it needs: "
        f"tfds.builder({name!r}, file_format='array_record').download_and_prepare(). TFDS_DATA_DIR names another place"
    )


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _builder(source: str, folder: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
    except Exception as error:  # whatever a damaged description makes of it, several layers down
        raise SourceError(f"{source}: the description in {folder} cannot be read: {one_line(error)}") from error
    stored_as = builder.info.file_format.value
    if stored_as != "array_record":
        raise SourceError(
            f"{source}: prepared as {stored_as}, which only TensorFlow reads; prepare it again with "
            "file_format='array_record'"
        )
    return builder


def _splits(source: str, info: Any, asked: str) -> list[str]:
    """The splits to read; `all` is all of them, and a part such as train[:10%] is one."""
    if asked == "all":
        return list(info.splits)
    name = split_of(asked)
    if name not in info.splits:
        raise SourceError(f"{source}: no split {name!r}; there are {', '.join(info.splits)}, and all")
    return [asked]


def _roles(source: str, info: Any) -> Roles:
    """Which feature is the image, the emotion, the subject."""
    import tensorflow_datasets as tfds

    kinds = tfds.features
    if not isinstance(info.features, kinds.FeaturesDict):
        raise SourceError(f"{source}: its examples have no named features; expected an image and a label")
    features = dict(info.features.items())
    supervised = [key for key in info.supervised_keys or () if isinstance(key, str)]
    images = [n for n, f in features.items() if isinstance(f, kinds.Image) and not isinstance(f, kinds.LabeledImage)]
    labels = [n for n, f in features.items() if isinstance(f, kinds.ClassLabel)]
    texts = [n for n, f in features.items() if isinstance(f, kinds.Text)]
    scalars = [n for n, f in features.items() if type(f) in (kinds.Tensor, kinds.Scalar) and f.shape == ()]
    image, emotion = _only(images, supervised, ("image",)), _only(labels, supervised, _LABELS)
    if image is None:
        raise _untold(source, "image", images)
    if labels and emotion is None:
        raise _untold(source, "label", labels)
    emotion = emotion or next((name for name in _LABELS if name in texts), None)
    subject = next((name for name in _SUBJECTS if name in (*labels, *texts, *scalars)), None)
    others = [name for name in (*labels, *texts, *scalars) if name not in (emotion, subject)]
    return Roles(image, emotion, subject, others, {name: features[name].names for name in labels})


def _only(found: list[str], supervised: list[str], usual: tuple[str, ...]) -> str | None:
    """The one feature of a kind: the only one, else the one of the supervised pair, else the one with a usual name."""
    return next((name for name in (*(found if len(found) == 1 else ()), *supervised, *usual) if name in found), None)


def _untold(source: str, what: str, found: list[str]) -> SourceError:
    there = f"there are {', '.join(sorted(found))}" if found else "there is none"
    return SourceError(f"{source}: which feature is the {what}? {there}; prepare it with one, called {what!r}")
