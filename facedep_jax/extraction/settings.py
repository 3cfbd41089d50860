"""Settings of stage one. They know nothing of the files that they will meet."""

import dataclasses
import math

from facedep_jax.backbones.taps import DEFAULT_TAPS
from facedep_jax.toml_settings import check_rules

MAX_SHARD_ROWS = 1 << 20  # of a shard that readers accept
MAX_BATCH = 4096  # images; far above what helps, far below what memory holds


@dataclasses.dataclass(frozen=True)
class ExtractSettings:
    """What decides the numbers of a cache, and how they are made (stage one)."""

    weights: str | None = None
    taps: str = DEFAULT_TAPS
    size: str = "224"
    precision: str = "float32"
    engine: str = "auto"
    color: str = "rgb"
    faces: str | None = None  # none for images, auto for clips
    detector_model: str | None = None
    margin: float | None = None  # the detector's own default, see media/frame_types.py
    face_policy: str | None = None  # largest for images, track for clips
    align: bool | None = None  # not, or as the run's faces where there is a run
    min_face: float | None = None  # pixels; the default is media/frame_types.py's
    fps: float = 4.0
    shard_rows: int = 2048
    flip: bool = False  # also keep the features of every picture mirrored left to right
    batch_size: int = 32
    retry_failed: bool = False
    limit: int | None = None
    rehash: bool = False
    workers: int | None = None  # processes on this machine
    backbone: tuple[str, ...] | None = None  # NAME=FILE.onnx[:OUTPUT], of networks that are not built in
    backbone_input: tuple[str, ...] | None = None  # NAME=KEY:VALUE,…: how crops enter them
    scheduler: str | None = None  # of a dask.distributed cluster: its address, or its file
    insecure: bool = False  # whether it may be another machine's without TLS

    @property
    def elsewhere(self) -> bool:
        """Whether other processes compute."""
        return self.scheduler is not None or (self.workers or 1) > 1

    def __post_init__(self) -> None:
        check_rules(
            (self.workers is None or self.workers >= 1, f"--workers is {self.workers}, expected at least 1"),
            (
                not (self.workers and self.scheduler),
                "--workers and --scheduler are both given; a cluster has workers of its own: give one of them",
            ),
            (
                all(isinstance(text, str) for text in (*(self.backbone or ()), *(self.backbone_input or ()))),
                f"backbone is {self.backbone!r} and backbone_input {self.backbone_input!r}, expected lists of texts",
            ),
            (self.color in ("rgb", "grey"), f"--color is {self.color!r}, expected rgb or grey"),
            (0 < self.fps <= 1000, f"--fps is {self.fps:g}, expected a number of frames a second, above 0 to 1000"),
            (
                self.margin is None or -0.25 <= self.margin <= 2,
                f"--margin is {self.margin}, expected −0.25 to 2 of the face's size",
            ),
            (
                self.face_policy in (None, "largest", "central", "track"),
                f"--face-policy is {self.face_policy!r}, expected largest, central or track",
            ),
            (
                self.min_face is None or 0 <= self.min_face < math.inf,
                f"--min-face is {self.min_face}, expected a number of pixels, 0 or more",
            ),
            (
                1 <= self.shard_rows <= MAX_SHARD_ROWS,
                f"--shard-rows is {self.shard_rows}, expected at least 1 and at most {MAX_SHARD_ROWS}",
            ),
            (
                1 <= self.batch_size <= MAX_BATCH,
                f"--batch-size is {self.batch_size}, expected at least 1 and at most {MAX_BATCH}",
            ),
            (self.limit is None or self.limit >= 1, f"--limit is {self.limit}, expected at least 1"),
        )
