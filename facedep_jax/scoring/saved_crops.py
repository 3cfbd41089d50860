"""Faces that are kept to be looked at: `crops/<item>/<number of the row>.jpg`. Knows nothing of scores.

Faces are personal data: nothing is kept unless it was asked for, and only the user may look into the folder, whatever
`--shared` says of the rest. Files are named by content, so that no clip's name can lead out of the folder.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from facedep_jax.errors import MediaError
from facedep_jax.file_opening import PICTURE, read_bytes
from facedep_jax.file_system import held_folder, write_atomically, writing
from facedep_jax.media import Frame, InputSettings, open_clip, read_image
from facedep_jax.media.file_hashing import hash_content
from facedep_jax.media.media_writer import encode_jpeg
from facedep_jax.progress_events import Note, Report, silent

KEPT_QUALITY, SHOWN_QUALITY = 90, 80


class Crops:
    """The crops of a scores directory."""

    def __init__(self, folder: Path):
        self.folder = folder

    def keep(self, item: str, number: int, frame: Frame) -> None:
        """Write the largest crop of row `number` of an item; a frame without a face has none."""
        if not frame.crops:
            return
        path = self._path(item, number)
        with writing(path):
            with held_folder(self.folder, self.folder.parent, make=True) as handle:
                os.fchmod(handle, 0o700)
            with held_folder(path.parent, self.folder, make=True):
                write_atomically(path, encode_jpeg(frame.crops[max(frame.crops)], KEPT_QUALITY), self.folder.parent)

    def lacks(self, item: str, numbers: Collection[int]) -> bool:
        """Whether the crop of any of these rows is not there."""
        return not all(self._path(item, number).is_file() for number in numbers)

    def picture(self, item: str, number: int, side: int) -> bytes | None:
        """The crop as a JPEG of side × side pixels; None where it is not there or damaged."""
        try:
            data = read_bytes(self._path(item, number), PICTURE)
            pixels = read_image(self._path(item, number), data, InputSettings(sizes=(side,))).frame.crops[side]
        except (OSError, MediaError):
            return None
        return encode_jpeg(pixels, SHOWN_QUALITY)

    def fetch(
        self,
        wanted: Mapping[str, tuple[Path, Collection[int]]],
        settings: InputSettings,
        report: Report = silent,
    ) -> None:
        """Decode the clips whose `wanted` crops (file and rows by item) are not there, for these crops alone.

        Says what cannot be read any more: the page then lacks its pictures and nothing else.
        """
        for item, (file, numbers) in wanted.items():
            if not self.lacks(item, numbers):
                continue
            report(Note(f"{file.name}: its scores are cached and its crops were not kept: decoded again for them"))
            try:
                if hash_content(file).item != item:
                    raise MediaError("it has changed since it was scored")
                with open_clip(file, settings) as clip:
                    for number, frame in enumerate(clip):
                        if number in numbers:
                            self.keep(item, number, frame)
            except MediaError as error:
                report(Note(f"{file.name}: no crops: {error.reason}", "warning"))

    def _path(self, item: str, number: int) -> Path:
        return self.folder / item / f"{number:06d}.jpg"
