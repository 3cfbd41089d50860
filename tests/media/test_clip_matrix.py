"""Clips of every container and codec, cut, joined, turned, late and full of gaps: right frames at right times, or said.

Each is made here of frames that tell their number and how they are turned; what comes out is compared with what was
drawn, not with what another decoder makes of the file. Whatever is missing or otherwise has to be said in a note.
"""

import re
import sys
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.made_clips import LEVELS, RATE, Recipe, drawn, joined, remuxed, write

from facedep_jax.errors import MediaError
from facedep_jax.media import InputSettings, open_clip
from facedep_jax.media.decode.frame_pixels import FramePixels

SIDE = 48
STEP = 1000 // RATE
EVEN = tuple(range(0, 40 * STEP, STEP))
NAMED = re.compile(r"cut short|damaged|free of damage|no frame could be decoded|not a video that FFmpeg can open")
# Every container that is read, with the codecs that people's files hold in it.
PAIRS = [
    *((ending, "libx264") for ending in ("mp4", "mov", "mkv", "avi", "ts", "m2ts", "flv", "3gp", "h264")),
    *((ending, "libx265") for ending in ("mp4", "mov", "mkv", "ts", "h265")),
    *((ending, "mpeg4") for ending in ("mp4", "mov", "mkv", "avi", "3gp", "m4v")),
    *((ending, "mpeg2video") for ending in ("mkv", "ts", "mpg", "vob", "mxf", "avi")),
    *((ending, "mjpeg") for ending in ("mp4", "mov", "mkv", "avi", "mjpeg")),
    *((ending, "libvpx") for ending in ("webm", "mkv", "ogv", "ivf")),
    *((ending, "libvpx-vp9") for ending in ("webm", "mkv", "mp4", "ivf")),
    *((ending, "libsvtav1") for ending in ("mp4", "mkv", "webm")),
    *((ending, "ffv1") for ending in ("mkv", "avi")),
    ("mpg", "mpeg1video"), ("flv", "flv1"), ("wmv", "wmv2"), ("wmv", "wmv1"), ("asf", "msmpeg4"), ("mov", "prores_ks"),
]  # fmt: skip
PIXELS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
UNSAID = 5  # frames, 0.2 s, by which what containers declare may be off
RAW = ("h264", "h265", "m4v", "mjpeg")  # streams without times


def recipe(ending: str, codec: str, **more) -> Recipe:
    return Recipe(ending, codec, EVEN, pixels=PIXELS.get(codec, "yuv420p"), **more)


@dataclass(frozen=True)
class Seen:
    """What is made of a clip: times in seconds, frames' numbers (modulo LEVELS), crops, notes; or why it is refused."""

    times: np.ndarray
    numbers: np.ndarray
    crops: np.ndarray
    notes: str
    refused: str = ""


def seen(path: Path) -> Seen:
    try:
        with open_clip(path, InputSettings((SIDE,), fps=1000)) as clip:
            frames = list(clip)
            info = clip.info
    except MediaError as error:
        nothing = np.zeros(0)
        return Seen(nothing, nothing, nothing, "", error.reason)
    crops = np.stack([frame.crops[SIDE] for frame in frames]).astype(int)
    middle = crops[:, SIDE // 2 - 4 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 4].mean((1, 2, 3))
    times = np.array([frame.time for frame in frames])
    return Seen(times, np.rint((middle - 20) / 9).astype(int), crops, info.account)


def shown(number: int, turned: int = 0, mirrored: bool = False) -> np.ndarray:
    """What frame `number` looks like as a square crop: flat fields, so that its corners and middle can be compared."""
    picture = drawn(number)
    picture = np.rot90(picture[:, ::-1] if mirrored else picture, -turned // 90)
    across = (np.arange(SIDE) * picture.shape[1]) // SIDE
    down = (np.arange(SIDE) * picture.shape[0]) // SIDE
    return picture[down][:, across].astype(int)


INNER = np.r_[3 : SIDE // 4 - 3]


def same_picture(crop: np.ndarray, expected: np.ndarray, within: float = 14) -> bool:
    """Corners compared away from edges, which codecs smear."""
    corners = [np.ix_(rows, columns) for rows in (INNER, SIDE - 1 - INNER) for columns in (INNER, SIDE - 1 - INNER)]
    return all(np.abs(crop[at].mean((0, 1)) - expected[at].mean((0, 1))).max() <= within for at in corners)


def assert_whole(found: Seen, stamps: list[float], numbers: list[int] | None = None, notes: str = "") -> None:
    """All frames, at `stamps` (ms on the file's clock) within 1 ms, each the right one; `notes` is all that is said."""
    assert not found.refused
    assert len(found.times) == len(stamps)
    assert np.abs(found.times * 1000 - stamps).max() <= 1
    expected = np.arange(len(stamps)) if numbers is None else np.array(numbers)
    assert (found.numbers == expected % LEVELS).all()
    assert same_picture(found.crops[0], shown(int(expected[0])))
    assert re.fullmatch(notes, found.notes), found.notes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The clip of an ending and a codec as `recipe` has it, written once and only read."""
    folder, there = tmp_path_factory.mktemp("whole"), {}

    def of(ending: str, codec: str) -> Path:
        if (ending, codec) not in there:
            there[ending, codec] = write(folder / f"{codec}.{ending}", recipe(ending, codec))
        return there[ending, codec]

    return of


def unsaid(ending: str) -> str:
    return "the file holds no times; 25 frames a second are assumed" if ending in RAW else ""


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
def test_every_container_and_codec(whole, ending, codec):
    first = seen(whole(ending, codec))
    assert_whole(first, EVEN, notes=unsaid(ending))
    again = seen(whole(ending, codec))
    assert (first.times == again.times).all() and (first.crops == again.crops).all()


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
@pytest.mark.parametrize("share", [0.97, 0.8, 0.5])
def test_what_is_cut_off_is_said_or_refused(whole, tmp_path, ending, codec, share):
    """What is left is right, and at its time; and nobody takes it for the whole."""
    data = whole(ending, codec).read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(data[: int(len(data) * share) | 1])  # not between two packets of a transport stream, by chance
    found = seen(cut)
    if found.refused:
        assert NAMED.search(found.refused), found.refused
        return
    there = np.rint(found.times * 1000 / STEP).astype(int)
    assert np.abs(found.times * 1000 - there * STEP).max() <= 1
    if ending == "mxf":  # without its index FFmpeg does not know which frames wait for others: one frame late, all
        there = there - there[0]
    if ending in RAW:  # frames are counted, and nothing tells of one that is lost, or that a whole stream is shorter
        assert (np.diff(found.numbers) % LEVELS <= 4).all() and "the file holds no times" in found.notes
        return
    assert (found.numbers == there % LEVELS).all()
    if len(there) < len(EVEN) - UNSAID:
        assert re.search("cut short|before the .* that the file declares|told of damage", found.notes), found.notes


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
def test_two_files_joined_by_cat_are_read_to_the_end_or_it_is_said(whole, tmp_path, ending, codec):
    both = tmp_path / f"both.{ending}"
    both.write_bytes(joined([whole(ending, codec)] * 2))
    found = seen(both)
    assert not found.refused and (np.diff(found.times) > 0).all()
    sure = len(EVEN) - 3  # a transport stream's counters break at the seam: up to there its last frames are in doubt
    assert (found.numbers[:sure] == np.arange(sure) % LEVELS).all()
    if len(found.times) >= 2 * len(EVEN) - 4:
        assert (found.numbers[-sure:] == np.arange(3, len(EVEN)) % LEVELS).all()
        assert ending in RAW or ending == "avi" or "mended" in found.notes
    else:
        assert re.search("joined on behind|told of damage", found.notes), found.notes


@pytest.mark.parametrize("codec", ["ffv1", "mjpeg", "mpeg4"])
def test_a_dead_beginning_of_an_avi_moves_nothing_behind_it(tmp_path, codec):
    path = write(tmp_path / "a.avi", recipe("avi", codec))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        first = [packet for packet in container.demux(video=0) if packet.size][:3]
    for packet in first:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    found = seen(path)
    there = np.rint(found.times * 1000 / STEP).astype(int)
    assert len(there) >= 20 and (found.numbers == there % LEVELS).all()
    assert "told of damage" in found.notes


def test_what_can_never_be_read_ends_a_clip_and_is_one_gap(tmp_path):
    """A sample of a gigabyte, by the index: reading fails there again and again."""
    path = write(tmp_path / "a.mp4", recipe("mp4", "libx264"))
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz") + 16
    data[sizes + 4 * 20 : sizes + 4 * 21] = bytes.fromhex("3ffffff0")
    path.write_bytes(data)
    found = seen(path)
    assert 15 <= len(found.times) <= 20 and (found.numbers[:15] == np.arange(15)).all()
    assert "before the 1.6 s that the file declares" in found.notes
    assert "gaps in decoding, passed over: 1;" in found.notes


TIMED = [("mp4", "libx264"), ("mov", "libx264"), ("mp4", "libx265"), ("mkv", "libx264"), ("mkv", "libvpx-vp9"),
         ("webm", "libvpx"), ("webm", "libsvtav1"), ("flv", "flv1"), ("mov", "mjpeg"), ("mkv", "ffv1")]  # fmt: skip
GAPS = {
    "a gap of 75 s": (*EVEN[:20], *(75_000 + stamp for stamp in EVEN[20:])),
    "a gap of 20 min": (*EVEN[:20], *(1_200_000 + stamp for stamp in EVEN[20:])),
    "two gaps": (*EVEN[:10], *(70_000 + s for s in EVEN[10:30]), *(200_000 + s for s in EVEN[30:])),
    "time-lapse": tuple(range(0, 40 * 90_000, 90_000)),
    "a screen that stands still": (0, 40, 80, 120_000, 120_040, 300_000, 300_040, *(620_000 + s for s in EVEN[:9])),
    "variable rate": (0, 40, 50, 180, 190, 200, 600, 640, 1900, 1910, 1950, 2000),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(("ending", "codec"), TIMED)
def test_honest_stamps_are_kept_however_far_apart(tmp_path, ending, codec, gap):
    stamps = GAPS[gap]
    whole = write(tmp_path / f"a.{ending}", replace(recipe(ending, codec), stamps=stamps))
    found, pauses = seen(whole), [step for step in np.diff(stamps) if step > 5000]
    said = f"no frame for {sum(pauses) / 1000:.1f} s of it, in pauses of over 5 s: {len(pauses)}" if pauses else ""
    assert_whole(found, stamps, notes=said)


@pytest.mark.parametrize("late", [0, 120, 3000, 90_000])
@pytest.mark.parametrize(("ending", "codec"), [*TIMED[:6], ("ts", "libx264"), ("ts", "mpeg2video"), ("flv", "flv1")])
def test_times_are_on_the_clock_that_starts_with_the_sound(tmp_path, ending, codec, late):
    stamps = tuple(late + stamp for stamp in EVEN)
    whole = write(tmp_path / f"a.{ending}", replace(recipe(ending, codec), stamps=stamps, sound=True))
    found = seen(whole)
    with av.open(str(whole)) as container:
        origin = min(float(s.start_time * s.time_base) for s in container.streams if s.start_time is not None)
        true = [(frame.time - origin) * 1000 for frame in container.decode(video=0)]
    assert_whole(found, true, notes=".*")  # the sound is longer, and some containers have one duration for both
    assert np.abs(found.times * 1000 - stamps).max() <= 50  # a codec's priming, and ticks of the container
    if late:
        assert re.search(r"its video starts \d+\.\d+ s after the file does", found.notes)


# The eight turns and flips, as (a, b, c, d) where x' = a·x + c·y and y' = b·x + d·y, and what they make of a picture
TURNS = {
    (1, 0, 0, 1): (0, False), (0, 1, -1, 0): (90, False), (-1, 0, 0, -1): (180, False), (0, -1, 1, 0): (270, False),
    (-1, 0, 0, 1): (0, True), (0, -1, -1, 0): (90, True), (1, 0, 0, -1): (180, True), (0, 1, 1, 0): (270, True),
}  # fmt: skip
ONE = 1 << 16


def matrix(a: float, b: float, c: float, d: float) -> tuple[int, ...]:
    return (round(a * ONE), round(b * ONE), 0, round(c * ONE), round(d * ONE), 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("mp4", "mpeg4"), ("mkv", "libx264")]
)
def test_a_display_matrix_is_applied_once_and_recorded(tmp_path, ending, codec, turn):
    degrees, mirrored = TURNS[turn]
    path = write(tmp_path / f"a.{ending}", recipe(ending, codec, matrix=matrix(*turn)))
    found = seen(path)
    assert not found.refused and same_picture(found.crops[0], shown(0, degrees, mirrored))
    said = "; ".join([*["mirrored"] * mirrored, *[f"turned by {degrees}°"] * bool(degrees)])
    assert found.notes == said


@pytest.mark.parametrize("turn", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0.3, 0, 1), (1, 0, 0, 2), (0, 0, 0, 0)])
def test_other_matrices_are_refused(tmp_path, turn):
    path = write(tmp_path / "a.mp4", recipe("mp4", "libx264", matrix=matrix(*turn)))
    assert re.search("more than quarter turns and flips", seen(path).refused)


# Cut at a key frame whose leading frames lean on what lies before it


OPEN = {
    "libx264": {"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0"},
    "libx265": {"x265-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0:log-level=none"},
    "mpeg2video": {"bf": "2"},
}


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("mp4", "libx265"), ("mkv", "libx265"),
     ("ts", "mpeg2video"), ("mkv", "mpeg2video")],
)  # fmt: skip
def test_segments_cut_at_key_frames_are_whole_from_there_on(tmp_path, ending, codec, first):
    source = write(tmp_path / f"source.{ending}", recipe(ending, codec, options=OPEN[codec]))
    found = seen(remuxed(source, tmp_path / f"cut.{ending}", first))
    assert not found.refused
    assert (np.diff(found.numbers) % LEVELS == 1).all()  # none is missing between the first and the last
    assert found.numbers[-1] == (len(EVEN) - 1) % LEVELS
    assert len(found.numbers) >= len(EVEN) - 12 * first - 4
    assert "told of damage" not in found.notes and "made from damaged" not in found.notes


# Calls that change their resolution under way


@pytest.mark.parametrize(("size", "said"), [((192, 128), "scaled to that of the first"), ((128, 96), "another shape")])
def test_a_size_that_changes_is_said_and_scaled_back_where_the_shape_is_the_same(tmp_path, size, said):
    first = write(tmp_path / "a.h264", recipe("h264", "libx264"))
    second = write(tmp_path / "b.h264", replace(recipe("h264", "libx264"), width=size[0], height=size[1]))
    (tmp_path / "both.h264").write_bytes(joined([first, second]))
    found = seen(tmp_path / "both.h264")
    assert len(found.times) == 2 * len(EVEN) and re.search(f"{said}.*: {len(EVEN)}", found.notes)
    assert same_picture(found.crops[-1], shown(len(EVEN) - 1))
    with open_clip(tmp_path / "both.h264", InputSettings((SIDE,), fps=1000)) as clip:
        list(clip)
        assert (clip.info.width, clip.info.height) == (96, 64)


# Colours


def yuv(red: float, green: float, blue: float, kr: float, kb: float, full: bool) -> tuple[int, int, int]:
    """ITU-T H.273: 8-bit Y, Cb, Cr of an RGB colour in 0 to 1."""
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    scaled = (255 * y, 255 * u + 128, 255 * v + 128) if full else (219 * y + 16, 224 * u + 128, 224 * v + 128)
    return tuple(round(value) for value in scaled)


KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
COLOUR = (0.75, 0.25, 0.4)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("tagged", [None, 1, 5, 6, 9])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (720, 576), (1280, 544), (480, 720)])
def test_colours_are_by_the_declared_matrix_or_by_size(tmp_path, size, tagged, full):
    high = size[1] >= 720 or size[0] >= 1280
    kr, kb = KR_KB[tagged or (1 if high else 5)]
    planes = yuv(*COLOUR, kr, kb, full)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.color_range = 2 if full else 1
        if tagged:
            stream.codec_context.colorspace = tagged
        frame = av.VideoFrame(*size, "yuv420p")
        for plane, value in zip(frame.planes, planes, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = 0, Fraction(1, RATE)
        frame.color_range = 2 if full else 1
        if tagged:
            frame.colorspace = tagged
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = seen(path)
    assert np.abs(found.crops[0].mean((0, 1)) - np.array(COLOUR) * 255).max() <= 3
    assert ("BT.709" in found.notes) == (high and not tagged)


# Tracks, shapes and fields


def two_tracks(path: Path, default: int | None) -> None:
    with av.open(str(path), "w") as out:
        tracks = [out.add_stream("mpeg4", rate=RATE) for _ in range(2)]
        for number, track in enumerate(tracks):
            track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
            track.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        for index in range(10):
            for number, track in enumerate(tracks):
                picture = np.full((64, 96, 3), 60 if number else 200, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                out.mux(track.encode(frame))
        for track in tracks:
            out.mux(track.encode(None))


@pytest.mark.parametrize("default", [0, 1, None])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_of_two_tracks_the_one_marked_as_default_is_read(tmp_path, ending, default):
    two_tracks(tmp_path / f"a.{ending}", default)
    found = seen(tmp_path / f"a.{ending}")
    with av.open(str(tmp_path / f"a.{ending}")) as container:
        marked = [bool(s.disposition & av.stream.Disposition.default) for s in container.streams.video]
    chosen = marked.index(True) if any(marked) else 0
    assert abs(found.crops[0].mean() - (200, 60)[chosen]) < 4
    assert f"video tracks in the file: 2; read was number {chosen + 1}, " in found.notes


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 15)])
@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("mp4", "mpeg4")]
)
def test_oblong_pixels_are_stretched(tmp_path, ending, codec, aspect):
    path = write(tmp_path / f"a.{ending}", recipe(ending, codec, aspect=aspect))
    with open_clip(path, InputSettings((SIDE,), fps=1000)) as clip:
        list(clip)
        shape = clip.info.width / clip.info.height
        assert "stretched to square pixels" in clip.info.account
    assert shape == pytest.approx(96 / 64 * float(aspect), rel=0.02)


def fields(width: int, height: int) -> av.filter.Graph:
    """Marks frames as two fields, the upper one first."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, RATE))
    mark, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    return graph


@pytest.mark.parametrize("ending", ["ts", "mkv", "mpg"])
def test_of_interlaced_frames_one_field_is_used(tmp_path, ending):
    """Even lines show frame 2k, odd lines frame 2k + 1: what comes out is frame 2k alone."""
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w", format={"ts": "mpegts", "mpg": "mpeg", "mkv": "matroska"}[ending]) as out:
        stream = out.add_stream("mpeg2video", rate=RATE, options={"flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.bit_rate = 8_000_000
        weave = fields(96, 64)
        for index in range(12):
            woven = drawn(2 * index)
            woven[1::2] = drawn(2 * index + 1)[1::2]
            woven[1::2] //= 2
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            weave.push(frame)
            out.mux(stream.encode(weave.pull()))
        out.mux(stream.encode(None))
    found = seen(path)
    assert "interlaced frames, of which the upper field was used: 12" in found.notes
    assert (np.abs(found.numbers - 2 * np.arange(12)) <= 1).all() and (found.crops[0][INNER][:, INNER] > 30).any()


def test_what_was_done_may_be_asked_while_another_thread_decodes():
    """As `monitor` does; with threads that change places all the time most rounds would fail."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            pixels = FramePixels(None)
            counting = threading.Thread(target=lambda own=pixels: own._counts.update(map(str, range(200))))
            counting.start()
            while counting.is_alive():
                pixels.notes()
    finally:
        sys.setswitchinterval(interval)
    assert len(pixels.notes()) == 200
