"""The spec of a cache: what decides the numbers in it, and whether those of two may be mixed. Knows no features."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facedep_jax.errors import CacheError, DamagedCache, SpecMismatch
from facedep_jax.file_opening import read_json
from facedep_jax.file_system import write_atomically
from facedep_jax.toml_settings import differences, without_none

FORMATS = {1: None, 2: "float32"}  # format version → `dtype` of the spec's features; 1 states none: float16
DEEPEST = 8  # of objects in objects: a spec has five, and what compares or shows it goes down recursively
_TAP = re.compile(r"\w+:\w+@([1-9]\d{0,2})(~\w+)?")
FIRST_DECODER = 1  # of a spec that states none
RESTORE = "`cache repair` writes it anew if config.toml is whole, else restore it from a copy; the shards are untouched"


def fingerprint(spec: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `spec`: sorted keys, no spaces, ASCII."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def format_of(spec: Mapping[str, Any]) -> int:
    """The format version that a cache of this spec has: by the type that its features are kept in."""
    stated = spec["features"].get("dtype")
    return next((version for version, dtype in FORMATS.items() if dtype == stated), 0)


def cells_of(tap: str) -> int:
    """Cells along a side of the tap `backbone:layer@cells`, which `~view` may follow."""
    return int(tap.rpartition("@")[2].partition("~")[0])


def write_header(folder: Path, spec: dict[str, Any]) -> None:
    """Write `cache.json`."""
    header = {"format": format_of(spec), "fingerprint": fingerprint(spec), "spec": spec}
    write_atomically(folder / "cache.json", json.dumps(header, indent=2) + "\n")


def read_header(folder: Path) -> dict[str, Any]:
    """The spec in `cache.json`. Raises CacheError for what is no cache of a version this program reads."""
    file = folder / "cache.json"
    try:
        header = read_json(file)
        version, spec, stated = header["format"], header["spec"], header["fingerprint"]
    except FileNotFoundError as error:
        why = "is not a cache: it has no cache.json" if folder.is_dir() else "does not exist"
        raise CacheError(f"{folder} {why}") from error
    except NotADirectoryError as error:
        raise CacheError(f"{folder} is a file; a cache is a directory") from error
    except OSError as error:
        raise DamagedCache(f"{file} is damaged (it {error.strerror}); {RESTORE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCache(f"{file} is damaged ({error}); {RESTORE}") from error
    require_known(version, folder)
    wrong = _fault(spec) or ("" if version == format_of(spec) else f"its format is {version} and its spec another's")
    if wrong:
        raise DamagedCache(f"{file} is damaged ({wrong}); {RESTORE}")
    if stated != fingerprint(spec):
        raise DamagedCache(f"{file} is damaged: its spec does not have the fingerprint it states; {RESTORE}")
    return spec


def require_known(version: object, where: object) -> None:
    """Raise CacheError for a format version that this program does not read."""
    if version not in tuple(FORMATS):  # it may be anything, also what cannot be hashed
        known = " and ".join(map(str, FORMATS))
        raise CacheError(f"{where} has format version {version}, this program reads {known}; update facedep-jax")


def shapes_of(spec: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """(S, S, C) of every tap of a spec that was read."""
    taps, channels = spec["features"]["taps"], spec["features"]["channels"]
    sides: dict[str, Any] = {tap: _TAP.fullmatch(tap) for tap in taps}
    return {tap: (int(match[1]), int(match[1]), channels[tap]) for tap, match in sides.items()}  # None: a TypeError


def _fault(spec: Any) -> str:
    """What a spec says that cannot be meant, whoever wrote it."""
    if not _object(spec) or not all(_object(spec.get(part)) for part in ("features", "input")):
        return "its spec does not have the two parts features and input"
    features = spec["features"]
    if not all(_object(how) for how in spec["input"].values()):
        return "its spec's input is not said for each kind"
    if not all(_object(features.get(name)) for name in ("weights", "channels", "size")):
        return "its spec's weights, channels or size are not said for each backbone"
    if not all(_object(w) and isinstance(w.get("family"), str) for w in features["weights"].values()):
        return "its spec's weights are of no family"
    try:
        widths = [width for *_, width in shapes_of(spec).values()]
    except (KeyError, TypeError) as error:
        return f"its spec does not say which taps there are ({error!r})"
    if not widths or not all(type(width) is int and 0 < width < 2**20 for width in widths):
        return f"its spec states channels that cannot be: {features['channels']!r}"
    return "" if _depth(spec) <= DEEPEST else "its spec is nested too deeply"


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _depth(value: object) -> int:
    """How deeply lists and objects lie in each other; stops where it is too deep to be meant."""
    level, deep = [value], 0
    while level and deep <= DEEPEST:
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level, deep = [value for values in inner for value in values], deep + 1
    return deep


def others_header(stated: str, held: Sequence[str]) -> str:
    """Says so where all shards, of the fingerprints `held`, are of one cache and `cache.json` with `stated` is not."""
    if len(set(held)) != 1 or held[0] == stated:
        return ""
    return f"it is another cache's: its fingerprint is {stated[:12]} and that of all {len(held)} shards {held[0][:12]}"


def require_own_header(folder: Path, stated: str, held: Sequence[str]) -> None:
    """Raise DamagedCache for a `cache.json` that is another cache's."""
    wrong = others_header(stated, held)
    if wrong:
        raise DamagedCache(f"{folder}/cache.json: {wrong}; {RESTORE}")


def stated_input(how: Mapping[str, Any]) -> dict[str, Any]:
    """What a spec says of one kind's pixels, with the number that it means where it states no decoder."""
    return {"decoder": FIRST_DECODER, **how}


def spec_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Every field in which two specs differ, as `key: before → after`."""
    one, other = (
        dict(spec) | {"input": {kind: stated_input(how) for kind, how in spec["input"].items()}}
        for spec in (before, after)
    )
    return differences(one, other) or differences(dict(before), dict(after))


def require_equal(folder: Path, held: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise SpecMismatch naming the fields in which a cache differs from what is wanted."""
    differing = spec_differences(held, wanted)
    if not differing:
        return
    ours, theirs = made_of(held["features"]), made_of(wanted["features"])
    if ours != theirs:
        raise SpecMismatch(f"{folder} holds {ours}, and {theirs} cannot be added to them: choose another --out")
    remedy = "Choose another --out, or the cache's own settings"
    if any(".decoder: " in what for what in differing):
        remedy = (
            "Another version of facedep-jax decoded what it holds, and may have made other pixels of the same file: "
            "rows of both are not put together. Extract everything into another --out; heads that learned from this "
            "cache keep working"
        )
    raise SpecMismatch(
        f"{folder} was extracted with other settings (held → asked for): {'; '.join(differing)}. {remedy}"
    )


def made_of(features: Mapping[str, Any]) -> str:
    """What features are of, in words."""
    layout = features.get("imported")
    return f"features that were imported as {layout}" if layout else "features of pictures"


def features_of(spec: Mapping[str, Any], taps: Sequence[str]) -> dict[str, Any]:
    """The `features` part of a spec as far as it concerns `taps`, in their order."""
    features = spec["features"]
    backbones = {tap.split(":")[0] for tap in taps}
    part = dict(features) | {"taps": list(taps), "channels": {tap: features["channels"].get(tap) for tap in taps}}
    if "columns" in features:
        part["columns"] = {tap: names for tap, names in features["columns"].items() if tap in taps}
    for key in ("weights", "size"):
        part[key] = {name: value for name, value in features[key].items() if name in backbones}
    return without_none(part)


def require_taps(spec: Mapping[str, Any], taps: Sequence[str], who: str) -> None:
    """Raise CacheError naming the taps that the spec does not hold."""
    held = spec["features"]["taps"]
    absent = [tap for tap in taps if tap not in held]
    if absent:
        raise CacheError(
            f"the cache holds {', '.join(held)}, {who} asks for {', '.join(absent)}; extract into a new cache or "
            "choose other taps"
        )


def check_features(wanted: Mapping[str, Any], spec: Mapping[str, Any], taps: Sequence[str], who: str) -> None:
    """Raise CacheError for absent taps, and SpecMismatch naming the fields in which `spec` differs from `wanted`."""
    require_taps(spec, taps, who)
    differing = differences(dict(wanted), features_of(spec, taps))
    if differing:
        raise SpecMismatch(
            f"features are not those of {who} ({who} → here): {'; '.join(differing)}. Extract with equal "
            "settings and weights"
        )
