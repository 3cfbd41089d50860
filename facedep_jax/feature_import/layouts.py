"""What the files of each layout are called, which columns make a group, and what is passed over by name.

Only facial and behavioural measurements are taken; sound, words and pictures of faces are not. Sources: docs/import.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from re import Pattern


@dataclass(frozen=True)
class FileKind:
    """Files of one kind: `path`, whose group `id` is the session, and the columns of each group by their headings.

    Without `groups` any group is all that the file holds. `slices` are those of arrays, by their width; in arrays of
    the widths `ordered` the landmarks are x_0 … x_67, y_0 … y_67.
    """

    reader: str  # table, parquet, npy or npz
    path: Pattern[str]
    groups: Mapping[str, Pattern[str]] | None = None
    slices: Mapping[int, Mapping[str, tuple[int, int]]] | None = None
    ordered: tuple[int, ...] = ()

    def serves(self, group: str) -> bool:
        """Whether files of this kind hold the group."""
        return not self.known or group in self.known

    @property
    def known(self) -> tuple[str, ...]:
        """The groups, where it has some of its own."""
        return tuple(self.groups or dict.fromkeys(name for widths in (self.slices or {}).values() for name in widths))


@dataclass(frozen=True)
class Layout:
    """Files of one `--format`. `rate` is that of its arrays; `by_session`: the corpus's tables name sessions;
    `persons`: and a session is a person; `zeros`: a frame of which all is 0 shows no face.
    """

    kinds: tuple[FileKind, ...]
    rate: float | None = None
    by_session: bool = False
    persons: bool = False
    zeros: bool = False


def _words(**patterns: str) -> dict[str, Pattern[str]]:
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


_OPENFACE = _words(
    au=r"AU\d\d_[rc]",
    au_r=r"AU\d\d_r",
    au_c=r"AU\d\d_c",
    gaze=r"gaze_[01]_[xyz]|gaze_angle_[xy]",
    pose=r"pose_[TR][xyz]",
    landmarks=r"[xy]_\d+",
    landmarks_3d=r"[XYZ]_\d+",
    eye_landmarks=r"eye_lmk_[xy]_\d+",
    eye_landmarks_3d=r"eye_lmk_[XYZ]_\d+",
    shape=r"p_(?:scale|[rt][xyz]|\d+)",
)
_LANDMARKS = {136: {"landmarks": (0, 136)}}
# What tcnfeature.py of LMVD writes: 17 intensities, 68 x and y, gaze and as many zeros, pose.
_LMVD = {171: {"au": (0, 17), "landmarks": (17, 153), "gaze": (153, 159), "pose": (165, 171)}, **_LANDMARKS}


def _any(ending: str) -> Pattern[str]:
    return re.compile(rf"(?:.*/)?(?P<id>[^/]+){ending}", re.IGNORECASE)


def _clnf(what: str, **groups: str) -> FileKind:
    return FileKind("table", _any(rf"_CLNF_{what}\.txt"), _words(**groups))


LAYOUTS = {
    "openface": Layout((FileKind("table", _any(r"\.csv"), _OPENFACE),)),
    "npy": Layout((FileKind("npy", _any(r"\.npy")),)),
    "npz": Layout((FileKind("npz", _any(r"\.npz")),)),
    "csv": Layout((FileKind("table", _any(r"\.(?:csv|tsv|txt)")),)),
    "parquet": Layout((FileKind("parquet", _any(r"\.parquet")),)),
    "daic": Layout(
        (
            FileKind("table", _any(r"_OpenFace2\.1\.0_Pose_gaze_AUs\.csv"), _OPENFACE),
            _clnf("AUs", au=r"AU\d\d_[rc]", au_r=r"AU\d\d_r", au_c=r"AU\d\d_c"),
            _clnf("gaze", gaze=r"[xyz]_h?[01]"),
            _clnf("pose", pose=r"(?:pose_)?[TR][xyz]|[XYZ]"),
            _clnf("features", landmarks=r"[xy]_?\d+"),
            _clnf("features3D", landmarks_3d=r"[XYZ]_?\d+"),
        ),
        by_session=True,
        persons=True,
    ),
    "dvlog": Layout(
        (FileKind("npy", _any(r"_visual\.npy"), slices=_LANDMARKS),), rate=1.0, by_session=True, zeros=True
    ),
    "lmvd": Layout(
        (
            FileKind("table", re.compile(r"(?:.*/)?(?P<id>\d+)\.csv"), _OPENFACE),
            FileKind("npy", re.compile(r"(?:.*/)?(?P<id>\d+)(?:_visual)?\.npy"), slices=_LMVD, ordered=(171,)),
        ),
        by_session=True,
    ),
}


def _reasons(reasons: Mapping[str, str]) -> dict[Pattern[str], str]:
    return {re.compile(pattern, re.IGNORECASE): reason for pattern, reason in reasons.items()}


# Why files are passed over by name, whatever the layout, and why those are that are no part of it: the first that fits.
NEVER = _reasons(
    {
        r"(^|/)\.": "hidden files are passed over",
        r"\.(wav|mp3|flac|m4a)$|_(acoustic|COVAREP|FORMANT|openSMILE|egemaps|mfcc)": "sound",
        r"(^|/)(audio|acoustic|vggish)": "sound",
        r"_transcript": "words",
    }
)
PASSED = _reasons(
    {
        r"\.(avi|mp4|mov|mkv|jpe?g|png|bmp)$|hog\.(bin|txt)$|\.hog$": "pictures, or what is computed of their pixels",
        r"BoVW|BoAW|CNN_|densenet|vgg16|resnet": "what a network, or counting, made of pictures or sound",
        r"_of_details\.txt$": "OpenFace's account of itself",
        r"\.(zip|tar|gz|7z)$": "an archive: unpack it",
        r"_CLNF_|OpenFace2": "measurements of another group than those that are asked for",
        r"\.(csv|tsv|txt|xlsx)$": "a table that is no part of this layout",
        r"\.(npy|npz|parquet)$": "an array or table of another --format",
    }
)
