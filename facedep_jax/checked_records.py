"""Values that anyone may have written → typed records, every field checked. It means nothing by them.

msgspec checks the fields by their types: it is imported in a third of the time that pydantic takes (41 and 176 ms).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from facedep_jax.errors import UnusableFile

NAMED = 4  # problems in one sentence

Amount = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, lt=2**20)]
Names = tuple[Annotated[str, Meta(max_length=4096)], ...]

R = TypeVar("R", bound=msgspec.Struct)


def one_of(names: Iterable[str]) -> Meta:
    """Of a text: it is one of `names`."""
    return Meta(pattern=f"^({'|'.join(map(re.escape, names))})$")


def require_typed(path: Path, kind: Any, value: Any) -> None:
    """Raise UnusableFile naming the first place where `value` is not of the type `kind`, such as a TypedDict, which may
    say less than there is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UnusableFile(path, f"cannot be meant: {error}") from error


def as_record(path: Path, kind: type[R], value: Any, where: str = "") -> R:
    """`value` as a record. Raises UnusableFile that names every field (below `where`) that is absent or wrong."""
    wrong = list(_problems(kind, value, where))
    if not wrong:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            wrong = [str(error).split(" - at ")[0]]
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    raise UnusableFile(path, f"cannot be meant: {'; '.join(wrong[:NAMED])}{more}")


def _problems(kind: type[msgspec.Struct], value: Any, where: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"{where or 'it'} is {_shown(value)}, expected a table"]
    wrong: list[str] = []
    for field in msgspec.structs.fields(kind):
        place = f"{where}.{field.name}" if where else field.name
        if field.name not in value:
            wrong += [f"{place} is missing"] if field.required else []
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            wrong += _problems(field.type, value[field.name], place)
        else:
            wrong += _problem(field.type, value[field.name], place)
    return wrong


def _problem(kind: Any, value: Any, place: str) -> list[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at ")
        return [f"{place}{at.strip('`').removeprefix('$')} is {_shown(value)}: {said[:1].lower()}{said[1:]}"]
    return []


def _shown(value: Any, most: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
