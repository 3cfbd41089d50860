"""Manifests: tables with one row a file, or a segment of one, `path` and whatever else the row says. Every row is a
request.
"""

import os
import unicodedata
from pathlib import Path

import polars as pl

from facedep_jax.segments import TIMES
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import Listings, Source, passed_over
from facedep_jax.sources.segment_tables import once, timed, times_said
from facedep_jax.sources.table_files import SUFFIXES
from facedep_jax.sources.user_tables import path_hint, read_table
from facedep_jax.text_escaping import as_name, as_text

_SAYS = ("path", "emotion", "subject", "split")


def is_manifest(path: Path) -> bool:
    """Whether the name ends as a table's does."""
    return path.suffix.lower() in SUFFIXES


def list_manifest(manifest: Path) -> Source:
    """Listings of a manifest, paths relative to its folder. A row whose file cannot be taken fails when it is read.

    Raises TableError for a manifest without `path`, with a row that cannot be read or two that disagree, and for times
    that cannot be meant.
    """
    table = read_table(manifest, (*_SAYS, *TIMES))
    table.require("path")
    found = {path: _as_on_disk(manifest.parent, as_name(path)) for path in table.frame["path"].unique().drop_nulls()}
    known = {path: kind_of(manifest.parent / name) for path, name in found.items()}
    images = pl.Series([p is not None and known[p].kind == "image" for p in table.frame["path"]], dtype=pl.Boolean)
    if images.all() and "start" in table.roles:  # pictures have no times: these columns are the user's own
        table = read_table(manifest, _SAYS)
    table = once(timed(table, images), "path")
    names, kinds = [found[path] for path in table.frame["path"]], [known[path] for path in table.frame["path"]]
    there = {kind.kind for kind in kinds}
    usual = "clip" if "clip" in there and "image" not in there else "image"
    cut = times_said(table)["start"].is_not_null()
    frame = table.without_key("path").with_columns(
        path=pl.Series(map(as_text, names), dtype=pl.String),
        kind=pl.Series(
            [k.kind or ("clip" if own else usual) for k, own in zip(kinds, cut, strict=True)], dtype=pl.String
        ),
        refused=pl.Series([(kind.kind and kind.reason) or None for kind in kinds], dtype=pl.String),
    )
    listings = Listings(manifest.parent, frame)
    layout = "; ".join((f"{manifest.suffix[1:].lower()} manifest", *table.said))
    odd = sum(kind.kind is None for kind in kinds)
    warnings: tuple[str, ...] = ()
    if odd:
        said = "and fail unless their content is one"
        warnings += (f"{manifest}: {odd} of {len(kinds)} rows name no image or clip, {said}",)
    absent = sum(not os.path.lexists(manifest.parent / name) for name in names[:_LOOKED_AT] if "\0" not in name)
    if absent and (hint := path_hint(frame["path"])):
        warnings += (f"{manifest}: {absent} of the first {len(names[:_LOOKED_AT])} paths name no file: {hint}",)
    return Source(manifest.stem, str(manifest), listings, passed_over(()), True, layout, warnings)


_LOOKED_AT = 100  # paths of a manifest, for a hint at what is wrong with all


def _as_on_disk(folder: Path, name: str) -> str:
    """`name` in the Unicode form that the file has: some systems decompose what others compose."""
    if name.isascii() or os.path.lexists(folder / name):
        return name
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((other for other in forms if os.path.lexists(folder / other)), name)
