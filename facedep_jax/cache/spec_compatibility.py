"""Whether features may be mixed: those of caches with each other, and those of a cache with a run's."""

from collections.abc import Mapping, Sequence
from typing import Any

from facedep_jax.errors import CacheError, SpecMismatch
from facedep_jax.toml_settings import differences, without_none


def features_of(spec: Mapping[str, Any], taps: Sequence[str]) -> dict[str, Any]:
    """The `features` part of a spec as far as it concerns `taps`, in their order."""
    features = spec["features"]
    backbones = {tap.split(":")[0] for tap in taps}
    part = dict(features) | {"taps": list(taps), "channels": {tap: features["channels"].get(tap) for tap in taps}}
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
