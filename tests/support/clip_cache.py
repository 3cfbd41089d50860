"""A cache of clips that nobody filmed: features drawn at random for `untrained_run.SMALL`, boxes, gaps, and persons."""

from types import SimpleNamespace

import numpy as np
from support.caches import NO_BOX, identity
from support.untrained_run import SMALL

from facedep_jax.cache import CacheWriter
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.media.frame_types import FACE_STATES

ENGINE = SimpleNamespace(name="xla", version="1", device="cpu")
SHAPES = {"mobilenet_v2:mid@3": (3, 3, 576), "mobilenet_v2:top@1": (1, 1, 1280)}
HOSTILE = "=cmd()|' \x1b[31m\udcff.mp4"
CLIPS = {  # path → number of the item, seconds, subject, visit
    "ann/a.mp4": (1, 16, "Ann", "1"),
    "ann/b.mp4": (2, 12, "ann", "2"),
    "ann/copy of b.mp4": (2, 12, "Ann", "2"),
    "bob.mp4": (3, 12, "bob", "1"),
    HOSTILE: (4, 8, None, None),
    "nobody there.mp4": (5, 8, "cid", "1"),
    "one frame.mp4": (6, 0.25, "cid", "2"),
}


def make_clips(folder, fps=4, faces="haar", light=None):
    """The cache; one file could not be decoded, one clip is listed no more. `light` is said of some paths."""
    spec = plan_extraction(("clip",), SMALL).spec
    spec["input"]["clip"] |= {"fps": float(fps), "faces": faces}
    with CacheWriter(folder, spec, ENGINE) as writer:
        for number, seconds in sorted({(number, seconds) for number, seconds, *_ in CLIPS.values()} | {(7, 8)}):
            add_clip(writer, number, round(seconds * fps), fps, faces)
        for path, (number, _, subject, visit) in CLIPS.items():
            columns = {"subject": subject, "visit": visit, "seconds": "what a source may call its own"}
            columns |= {"clip_light": light[path]} if path in (light or {}) else {}
            writer.add_listing({"item": identity(number), "source": "/s", "path": path, "emotion": None} | columns)
        writer.record_failure("/s/torn.mp4", identity(50), "decode", "cut short")
    return folder


def make_nobodys(folder, listed=True, states=2.0, second=0.25):
    """A cache of one clip of nobody known: 8 frames, the second at `second`, that states to last `states` seconds."""
    with CacheWriter(folder, plan_extraction(("clip",), SMALL).spec, ENGINE) as writer:
        add_clip(writer, 1, 8, duration=states, later=second - 0.25)
        if listed:
            writer.add_listing({"item": identity(1), "source": "/s", "path": "a.mp4", "emotion": None})
    return folder


def add_clip(writer, number, frames, fps=4, faces="haar", duration=None, later=0.0):
    """A clip whose face, where it is found, drifts between two others."""
    rng = np.random.default_rng(number)
    drift = {tap: rng.normal(size=(2, *shape)) for tap, shape in SHAPES.items()}
    writer.begin_item(identity(number), "clip")
    for row in range(frames):
        along = 0.5 + 0.5 * np.sin(row / fps)
        state = "whole" if faces == "none" else "none" if number == 5 or (number == 3 and 20 <= row < 28) else "found"
        values = {tap: (a + along * (b - a)).astype(np.float16) for tap, (a, b) in drift.items()}
        box = (10.0 * row / fps * number, 50.0, 100.0, 100.0) if state == "found" else NO_BOX
        crop = values if state in ("found", "whole") else None
        writer.add_row(
            row / fps + later * (row > 0), FACE_STATES.index(state), box, 0.9 if state == "found" else np.nan, crop
        )
    writer.end_item(640, 480, frames / fps if duration is None else duration)
