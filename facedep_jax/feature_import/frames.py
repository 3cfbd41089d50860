"""What files say of frames → rows of a cache: times that go on, who is shown, and which frames have no face.

A frame without a face has no measurements: what stands there in the file is the tracker's guess, or nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from facedep_jax.errors import MediaError
from facedep_jax.feature_import.frame_tables import FrameTable
from facedep_jax.media.frame_types import FACE_STATES

WHOLE, FOUND, SEVERAL, NONE = (FACE_STATES.index(state) for state in ("whole", "found", "several", "none"))
ALIKE = 0.02  # part by which two rates may differ: 29.97 and 30 are one, and files round times to milliseconds


@dataclass(frozen=True)
class MeasuredFrames:
    """n frames in order: seconds, face state, box in pixels (NaN: unknown), confidence, and of frames with a face the
    measurements by tap. `rate` is that of the file's frames, None of a single one; `lost` says of each reason which
    frames have no face for it, one reason a frame; `account` says what was left out.
    """

    time: Float[np.ndarray, " n"]
    face: Int[np.ndarray, " n"]
    box: Float32[np.ndarray, "n 4"]
    score: Float32[np.ndarray, " n"]
    values: dict[str, Float32[np.ndarray, "n c"]]
    rate: float | None
    lost: Mapping[str, Bool[np.ndarray, " n"]]
    account: str = ""

    def only(self, rows: Int[np.ndarray, " k"]) -> "MeasuredFrames":
        """Some of the frames."""
        known = {name: getattr(self, name)[rows] for name in ("time", "face", "box", "score")}
        values = {tap: values[rows] for tap, values in self.values.items()}
        return replace(self, **known, values=values, lost={why: which[rows] for why, which in self.lost.items()})

    @property
    def without_face(self) -> dict[str, int]:
        """How many frames have none, by the reason."""
        return {why: int(which.sum()) for why, which in self.lost.items() if which.any()}


def frames_of(table: FrameTable, rate: float | None, confidence: float, zeros: bool) -> MeasuredFrames:
    """The frames of one file. `rate` is that of files that state no times; with `zeros` a frame of which all is 0 has
    no face. Raises MediaError for times that do not go on, and for measurements of a face that are no numbers.
    """
    if not table.rows:
        raise MediaError("holds no frame")
    rows, account, others = _one_person(table)
    time, rate = _times(table, rows, rate)
    success, sure = (_said(table, name, rows) for name in ("success", "confidence"))
    lost = np.zeros(len(rows), bool) if success is None else success != 1
    unsure = np.zeros(len(rows), bool) if sure is None else ~(sure >= confidence) & ~lost
    blank = _blank(table, rows) & ~lost & ~unsure if zeros else np.zeros(len(rows), bool)
    seen = ~(lost | unsure | blank)
    values = {tap: _measurements(table, tap, rows, seen) for tap in table.values}
    known = success is not None or sure is not None or zeros
    face = np.where(seen, FOUND if known else WHOLE, NONE)
    face[seen & np.isin(rows, others)] = SEVERAL
    return MeasuredFrames(
        time,
        face,
        _boxes(table, rows, seen),
        np.full(len(rows), np.nan, np.float32) if sure is None else sure.astype(np.float32),
        values,
        rate,
        {"success is 0": lost, f"confidence below {confidence:g}": unsure, "all values are 0": blank},
        account,
    )


def _said(table: FrameTable, name: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """A column about frames, None without one. Raises MediaError where it is not said."""
    if name not in table.about:
        return None
    values = table.about[name][rows]
    _require_numbers(table, name, rows, ~np.isfinite(values))
    return values


def _require_numbers(table: FrameTable, name: str, rows: np.ndarray, bad: Bool[np.ndarray, " n"]) -> None:
    if bad.any():
        first = rows[np.flatnonzero(bad)[0]]
        raise MediaError(f"{table.where(first)}: {name} is no finite number ({int(bad.sum()):,} such rows)")


def _one_person(table: FrameTable) -> tuple[Int[np.ndarray, " n"], str, Int[np.ndarray, " k"]]:
    """The rows of the face that is there most often, what to say of the others, and the rows beside which these are."""
    every = np.arange(table.rows)
    faces = _said(table, "face_id", every)
    if faces is None or len(ids := np.unique(faces)) < 2:
        return every, "", every[:0]
    counts = [(int((faces == one).sum()), -float(one)) for one in ids]
    taken = -max(counts)[1]
    rows = np.flatnonzero(faces == taken)
    moment = table.about.get("time", table.about.get("frame", every.astype(float)))
    shared = rows[np.isin(moment[rows], moment[faces != taken])]
    left = table.rows - len(rows)
    return rows, f"of {len(ids)} faces face_id {taken:g} is taken, and {left:,} rows of others left out", shared


def _times(
    table: FrameTable, rows: Int[np.ndarray, " n"], rate: float | None
) -> tuple[Float[np.ndarray, " n"], float | None]:
    """Seconds of frames, and how many there are in one."""
    time, frame = (_said(table, name, rows) for name in ("time", "frame"))
    if time is None:
        if rate is None:
            raise MediaError("states no times: say its frames a second with --rate")
        if frame is None:
            return np.arange(len(rows)) / rate, rate
        _require_rising(table, "frame", rows, frame)
        return (frame - frame[0]) / rate, rate
    _require_rising(table, "time", rows, time)
    if len(time) < 2:
        return time, None
    if frame is not None and frame[-1] > frame[0]:
        return time, float((frame[-1] - frame[0]) / (time[-1] - time[0]))
    return time, float(1 / np.median(np.diff(time)))


def _require_rising(table: FrameTable, name: str, rows: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> None:
    back = np.flatnonzero(np.diff(values) <= 0)
    if len(back):
        before, found = values[back[0]], values[back[0] + 1]
        how = "again" if found == before else f"after {before:g}"
        where = table.where(rows[back[0] + 1])
        raise MediaError(f"{where}: {name} {found:g} stands there {how}; {name}s have to go on")


def _blank(table: FrameTable, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return np.all([(values[rows] == 0).all(1) for values in table.values.values()], 0)


def _measurements(
    table: FrameTable, tap: str, rows: Int[np.ndarray, " n"], seen: Bool[np.ndarray, " n"]
) -> Float32[np.ndarray, "n c"]:
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(table.values[tap][rows], np.float32)
    bad = ~np.isfinite(values)
    bad[~seen] = False
    if bad.any():
        row, column = np.argwhere(bad)[0]
        name = table.names[tap][column] if tap in table.names else f"value {column}"
        raise MediaError(
            f"{table.where(rows[row])}: {name} is no finite number, and a face is said to be there "
            f"({int(bad.any(1).sum()):,} such frames)"
        )
    return values


def _boxes(table: FrameTable, rows: Int[np.ndarray, " n"], seen: Bool[np.ndarray, " n"]) -> Float32[np.ndarray, "n 4"]:
    """Around the landmarks of each frame with a face; NaN without landmarks in pixels."""
    box = np.full((len(rows), 4), np.nan, np.float32)
    if table.landmarks is not None:
        points = table.landmarks[rows]
        whole = seen & np.isfinite(points).all((1, 2))
        low, high = points[whole].min(2), points[whole].max(2)
        box[whole] = np.concatenate([low, high - low], 1)
    return box


def joined(parts: Sequence[tuple[str, MeasuredFrames]]) -> MeasuredFrames:
    """The frames of several files of one session, each with its name. Raises MediaError unless all are of equal times.

    A frame has a face where all of them say so; why not is what the first says that sees none.
    """
    (name, first), *others = parts
    for other, frames in others:
        if not np.array_equal(first.time, frames.time):
            raise MediaError(f"the frames of {name} ({len(first.time):,}) and of {other} are of other times")
    face = np.max([frames.face for _, frames in parts], 0)
    values = {tap: values for _, frames in parts for tap, values in frames.values.items()}
    box = next((frames.box for _, frames in parts if np.isfinite(frames.box).any()), first.box)
    box = np.where((face == NONE)[:, None], np.float32(np.nan), box)
    account = "; ".join(dict.fromkeys(frames.account for _, frames in parts if frames.account))
    lost = _lost([frames.lost for _, frames in parts])
    return replace(first, face=face, values=values, box=box, lost=lost, account=account)


def _lost(parts: Sequence[Mapping[str, Bool[np.ndarray, " n"]]]) -> dict[str, Bool[np.ndarray, " n"]]:
    """Frames that one part at least lost, each for the reason of the first."""
    found: dict[str, Bool[np.ndarray, " n"]] = {}
    for why, which in (one for part in parts for one in part.items()):
        told = np.any([which & False, *found.values()], 0)
        found[why] = found.get(why, told & False) | (which & ~told)
    return found


def thinned(frames: MeasuredFrames, fps: float) -> MeasuredFrames:
    """The first frame of each of `fps` parts of a second. Raises MediaError for a file of fewer frames a second."""
    if frames.rate is not None and frames.rate < fps * (1 - ALIKE):
        raise MediaError(f"has {frames.rate:.4g} frames a second, and --fps asks for {fps:g}")
    part = np.floor((frames.time - frames.time[0]) * fps + 1e-6).astype(np.int64)
    return frames.only(np.flatnonzero(np.diff(part, prepend=-1) > 0))
