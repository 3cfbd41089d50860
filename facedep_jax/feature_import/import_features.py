"""A folder of others' features → a cache, with the guarantees of an extraction. Knows nothing of what labels mean.

A session is read as a whole before its first row is written; a file that cannot be used is recorded, and the others go
on. Whoever is killed continues where the last shard ended.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facedep_jax import __version__
from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.maintenance.ignored_files import note_ignored
from facedep_jax.errors import MediaError, SourceError
from facedep_jax.extraction.files_summary import FilesSummary, files_summary
from facedep_jax.feature_import.import_sessions import SessionImport, read_session
from facedep_jax.feature_import.listed_sessions import list_sessions
from facedep_jax.feature_import.plan import RowShape, shape_in, shape_of, spec_of
from facedep_jax.feature_import.sessions import Session
from facedep_jax.feature_import.settings import ImportSettings
from facedep_jax.file_system import require_output
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import write_config
from facedep_jax.toml_settings import to_table


@dataclass(frozen=True)
class _Importer:
    """What shards say of what computed their features: nothing did."""

    name: str = "import"
    version: str = __version__
    device: str = "none"


class ImportSummary(FilesSummary):
    """What `import_features` did, beside what became of the files, which are imported whole and have no segments.
    `frames` and `frames_without_face`, by reason, are those of the files read now; `labelled` and `subjects` count
    listings with a label, and persons; `features`: (cells, cells, channels) by tap.
    """

    cache: str
    fingerprint: str
    format: str
    frames: int
    frames_without_face: dict[str, int]
    fps: float
    labelled: int
    subjects: int
    seconds: float
    features: dict[str, list[int]]


def import_features(
    folder: Path,
    out: Path,
    settings: ImportSettings,
    report: Report = silent,
    labels: Sequence[Path] = (),
    subjects: Path | None = None,
) -> ImportSummary:
    """Import everything in `folder` into the cache at `out`; what that holds already is not read again.

    `labels` and `subjects` are tables. Raises FacedepError for settings, tables and outputs that cannot be used, and
    where no file can be read; a file that cannot be used is recorded and counted.
    """
    begun = time.monotonic()
    require_output(out, link=True)
    found = list_sessions(folder, settings, labels, subjects)
    source = found.source
    report(Note(f"{source.where}: {source.layout}, {source.ignored} other files ignored"))
    for text in source.warnings:
        report(Note(text, "warning"))
    shape = _shape(out, list(found.by_path.values()), folder.resolve(), settings)
    spec = spec_of(shape, settings)
    with CacheWriter(out, spec, _Importer(), settings.shard_rows) as writer:
        record = {"fingerprint": fingerprint(spec), **spec}
        write_config(out / "config.toml", "import", to_table(settings), {"cache": record})
        note_ignored(out, [(source.where, source.others, None)])
        work = SessionImport(writer, source, found.by_path, settings, shape, report)
        work.run()
        writer.commit()
    outcomes, frame = work.outcomes, source.listings.frame
    return {
        "cache": str(out),
        "fingerprint": fingerprint(spec),
        "format": settings.format,
        **files_summary([source], writer, outcomes),
        "frames": outcomes.frames,
        "frames_without_face": dict(work.lost),
        "fps": shape.fps,
        "labelled": len(frame) - frame["emotion"].null_count(),
        "subjects": frame["subject"].drop_nulls().n_unique(),
        "seconds": round(time.monotonic() - begun, 3),
        "features": {tap: [1, 1, width] for tap, width in shape.channels.items()},
    }


def _shape(out: Path, sessions: Sequence[Session], folder: Path, settings: ImportSettings) -> RowShape:
    """That of the cache at `out`, else of the first session that can be read. Raises SourceError where none can."""
    held = shape_in(read_header(out), settings) if (out / "cache.json").is_file() else None
    if held:
        return held
    why = []
    for session in sessions:
        try:
            return shape_of(*read_session(session, folder, settings), settings)
        except MediaError as error:
            why.append(f"{session.path}: {error.reason}")
    raise SourceError(f"{folder}: none of {len(sessions):,} sessions can be imported, the first: {why[0]}")
