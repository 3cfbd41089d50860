"""What is to be learned from caches: labels, target, splits, duplicates. It computes with no feature."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int32

from facedep_jax.backbones.taps import named_taps, plain_taps
from facedep_jax.cache import Cache
from facedep_jax.cache.feature_spec import check_features, features_of, require_taps
from facedep_jax.cache.ledger_state import odd_decoding
from facedep_jax.dataset.beside import items_beside
from facedep_jax.dataset.duplicates_across_splits import equal_pixels_across, look_alikes
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import DEFAULT_POSITIVE, Target
from facedep_jax.sources.label_tables import IN_CACHE
from facedep_jax.sources.labelled_items import LabelledItems, labelled_items
from facedep_jax.toml_settings import differences


@dataclass(frozen=True)
class Prepared(LabelledItems):
    """What is to be learned, before any feature is read."""

    taps: tuple[str, ...]
    features: dict[str, Any]  # the part of the caches' spec that decides them
    beside: pl.DataFrame | None = None  # items that are only learned from

    @property
    def learned(self) -> pl.DataFrame:
        """The items, and after them those that are only learned from."""
        return self.items if self.beside is None else pl.concat([self.items, self.beside])

    def beside_among(self, gathered: np.ndarray) -> "Prepared":
        """The same, and of what is only learned from the items that were `gathered`: some show no face."""
        if self.beside is None:
            return self
        return replace(self, beside=self.beside.filter(pl.col("item").is_in(gathered.tolist())))

    @property
    def classes(self) -> Int32[np.ndarray, " n"]:
        """The class of each of `learned`."""
        return classes_of(self.learned, self.target)

    @property
    def positive(self) -> Bool[np.ndarray, " classes"]:
        """Which classes are the proxy's positive side."""
        return np.array(self.target.positive, bool)


def prepare(
    caches: Sequence[Cache],
    positive: Sequence[str] = DEFAULT_POSITIVE,
    *,
    target: str = "proxy",
    taps: str | None = None,
    labels: str | None = None,
    allow_duplicates: bool = False,
    seed: int = 0,
    aliases: Sequence[str] = (),
    beside: Sequence[Cache] = (),
) -> Prepared:
    """Labels, target and splits of everything that the caches list (see `labelled_items`), and their common features.

    `taps` names some of the caches' (None: all), `labels` is a table. What the caches `beside` list is only learned
    from (`items_beside`). Raises LabelError where there is nothing to learn or to choose by, CacheError and
    SpecMismatch for taps and features.
    """
    features = common_features((*caches, *beside), named_taps(taps) if taps else None)
    chosen = tuple(features["taps"])
    found = labelled_items(
        listings_of(caches),
        positive,
        target=target,
        table=labels,
        held=pl.concat(pl.Series(cache.items.id, dtype=pl.String) for cache in caches),
        allow_duplicates=allow_duplicates,
        seed=seed,
        aliases=aliases,
    )
    prepared = Prepared(**vars(found), taps=chosen, features=features)
    return _with_beside(prepared, caches, beside, aliases) if beside else prepared


def _with_beside(
    prepared: Prepared, caches: Sequence[Cache], beside: Sequence[Cache], aliases: Sequence[str]
) -> Prepared:
    held = pl.concat(pl.Series(cache.items.id, dtype=pl.String) for cache in beside)
    listings = listings_of(beside).filter(pl.col("item").is_in(held.implode()))
    found = items_beside(listings, prepared.items, prepared.target, listings_of(caches)["item"], aliases)
    return replace(
        prepared,
        beside=found.items,
        data=prepared.data | {"beside": found.data | {"fingerprints": [cache.fingerprint for cache in beside]}},
        notes=(*prepared.notes, *found.notes),
        warnings=(*prepared.warnings, *found.warnings, *_seen_otherwise(caches[0], beside)),
    )


def listings_of(caches: Sequence[Cache]) -> pl.DataFrame:
    """What all the caches list, one after the other, segments each in a row, with the cache's path in the column
    `IN_CACHE`."""
    parts = (cache.listing_rows.with_columns(pl.lit(str(cache.path)).alias(IN_CACHE)) for cache in caches)
    return pl.concat(parts, how="diagonal")


def classes_of(items: pl.DataFrame, target: Target) -> Int32[np.ndarray, " n"]:
    """The class of each item, by its emotion."""
    return items["emotion"].replace_strict(target.emotions, return_dtype=pl.Int32).to_numpy()


def common_features(caches: Sequence[Cache], taps: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The part of the spec that decides `taps` (None: all). Raises CacheError, SpecMismatch where caches differ."""
    taps = plain_taps(caches[0].taps) if taps is None else taps
    require_taps(caches[0].spec, taps, "this run")
    features = features_of(caches[0].spec, taps)
    for cache in caches[1:]:
        check_features(features, cache.spec, taps, str(caches[0].path))
    return features


def _seen_otherwise(own: Cache, beside: Sequence[Cache]) -> Iterator[str]:
    """A sentence on each cache whose pictures were cut out otherwise: a head may tell the sets apart by that."""
    for cache in beside:
        if found := differences(own.spec["input"], cache.spec["input"]):
            yield f"beside: {cache.path} was extracted otherwise (own → there): {'; '.join(found)}"


FEW_POSITIVES = 10  # up to so many, one item more or less decides on a figure


def few_items_warning(what: str, label: Bool[np.ndarray, " n"]) -> tuple[str, ...]:
    """What to say of a split, called `what`, to choose or to judge by: hardly a positive item, or hardly another."""
    positive, count = int(label.sum()), len(label)
    if not count or (positive > FEW_POSITIVES and count - positive > 1):
        return ()
    return (f"{what} has {positive} positive of {count:,} items: its figures hang on single items",)


def few_items_warnings(clips: Examples) -> list[str]:
    """`few_items_warning` of val and test."""
    labels = {split: clips.label[clips.split == split] for split in ("val", "test")}
    return [text for split, label in labels.items() for text in few_items_warning(f"the {split} split", label)]


def odd_warnings(caches: Sequence[Cache], items: Sequence[str]) -> tuple[str, ...]:
    """One sentence where `decoding` says of some of these items what was odd, mended or left out."""
    odd = (cache.listings.filter(odd_decoding(cache.listings))["item"] for cache in caches)
    count = len(set(items) & set().union(*odd))
    if not count:
        return ()
    said = (
        "were decoded with something odd, mended or left out: the column `decoding` of the caches' listings says what"
    )
    return (f"{count:,} of {len(items):,} items {said}",)


def duplicate_warnings(caches: Sequence[Cache], examples: Examples, allowed: bool) -> list[str]:
    """Sentences about pictures that are in two splits. Raises LabelError for equal pixels unless they are allowed.

    What is only learned from is a split of its own: over folds, all others are held out once.
    """
    warnings = [*equal_pixels_warning(examples, equal_pixels_across(caches, examples), allowed)]
    alike, every = look_alikes(caches, examples)
    if alike:
        warnings.append(
            f"{alike if every else f'at least {alike}'} items are near-duplicates of an item of another split "
            "(perceptual hash and features): figures on validation and test flatter"
        )
    if not every:
        warnings.append(
            "too many pictures look alike for all pairs to be compared: near-duplicates across splits may be missed"
        )
    return warnings


def equal_pixels_warning(examples: Examples, pairs: Sequence[tuple[int, int]], allowed: bool) -> tuple[str, ...]:
    """What to say of `pairs` of examples of equal pixels in two splits. Raises LabelError unless they are allowed."""
    if not pairs:
        return ()
    where = " and ".join(f"{examples.path[i]} ({examples.split[i]})" for i in pairs[0])
    found = f"{len(pairs)} items have the pixels of an item of another split, for example {where}"
    if not allowed:
        raise LabelError(
            f"{found}: a score on one would be a memory of the other. Remove them from all but one split, or pass "
            "--allow-duplicates to train regardless"
        )
    return (f"{found}; they are kept, as asked: figures on validation and test are too good",)
