"""How often a face can be used in each clip of a folder, by state.

    python tools/list_coverage.py FOLDER [--faces yunet] [--face-policy track]

Prints a Markdown table. A clip that cannot be read is named with its reason.
"""

import argparse
from collections import Counter
from pathlib import Path

from facedep_jax.errors import MediaError
from facedep_jax.file_system import user_cache
from facedep_jax.media import DEFAULT_MARGINS, FACE_STATES, InputSettings, open_clip, resolve_faces
from facedep_jax.media.frame_types import POLICIES
from facedep_jax.sources import read_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--faces", default="auto", choices=["auto", "yunet", "haar"])
    parser.add_argument("--detector-model")
    parser.add_argument("--face-policy", default="track", choices=POLICIES)
    parser.add_argument("--fps", type=float, default=4.0)
    options = parser.parse_args()
    choice = resolve_faces(options.faces, options.detector_model, None, user_cache())
    settings = InputSettings(
        (32,), faces=choice.faces, detector=choice.detector, margin=DEFAULT_MARGINS[choice.faces],
        policy=options.face_policy, fps=options.fps,
    )  # fmt: skip
    clips = [listing for listing in read_source(options.folder).listings if listing.kind == "clip"]
    states = FACE_STATES[1:]
    print(f"{choice.reason}\n\n| clip | samples | coverage | {' | '.join(states)} | notes |")
    print("| --- " * (len(states) + 4) + "|")
    for listing in clips:
        print(f"| {listing.path} | {_row(listing.file, settings, states)} |", flush=True)


def _row(clip: Path, settings: InputSettings, states: tuple[str, ...]) -> str:
    try:
        with open_clip(clip, settings) as frames:
            seen = [(frame.face.state, bool(frame.crops)) for frame in frames]
            notes = "; ".join(frames.info.notes)
    except MediaError as error:
        return f"failed: {error.reason} |" + " |" * (len(states) + 1)
    counts = Counter(state for state, _ in seen)
    coverage = sum(used for _, used in seen) / len(seen)
    return f"{len(seen)} | {coverage:.2f} | {' | '.join(str(counts[state]) for state in states)} | {notes}"


if __name__ == "__main__":
    main()
