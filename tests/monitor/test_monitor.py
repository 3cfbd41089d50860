"""A live source goes through the path of clips: newest frame first, dropped rather than late, recorded row by row.

There is no camera here: OpenCV's own capture reads a pipe into which pictures are written as they come from one, and
which can go away like one.
"""

import contextlib
import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from support.paths import ROOT
from support.untrained_run import write_run

from facedep_jax.cli import main
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import MediaError, SettingsError, SourceError
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs, init_states
from facedep_jax.head.trained_head import Head
from facedep_jax.media import FACE_STATES, Face, Frame, InputSettings, Live, Located, locate
from facedep_jax.media.decode import live_capture
from facedep_jax.media.decode.face_detectors import Sighting
from facedep_jax.media.decode.face_selection import AtOnce
from facedep_jax.media.decode.face_tracking import FORGOTTEN
from facedep_jax.media.decode.live_capture import Camera, Paced, Reader
from facedep_jax.media.live_source import Newest
from facedep_jax.media.media_writer import write_clip
from facedep_jax.monitor import MonitorSettings, monitor
from facedep_jax.monitor.live_scoring import Lags, SlidingWindow
from facedep_jax.monitor.score_recording import COLUMNS, Record
from facedep_jax.progress_events import Interrupted, LiveFrame, Tick
from facedep_jax.runs.run_directory import load_head, write_head
from facedep_jax.scoring.clip_scores import ScoreSettings, score_clip
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.score_images import FaceScore
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_person
from facedep_jax.toml_settings import to_table
from facedep_jax.training.settings import TrainSettings

WHOLE = ExtractSettings(faces="none", fps=8.0, engine="xla")


def cli(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A drawn clip of 2.5 s, and a run: a head of two members that was never trained, over untrained weights."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    moods = np.linspace(EXPRESSIONS["sad"], EXPRESSIONS["happy"], 30)
    write_clip(folder / "film.mp4", (draw_face(draw_person(1), mood, rng) for mood in moods), 12.0)
    plan = plan_extraction(("image",), ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@3", size="64"))
    architecture = Architecture(Inputs(("mobilenet_v2:mid@3",), (3,), (576,), 2), PRESETS["tiny"])
    head = Head(
        architecture, init_states(architecture, jax.random.split(jax.random.key(1), 2)),
        classes=PROXY_CLASSES, positive=np.array([False, True]), positive_emotions=("neutral", "sad"),
        calibration=Calibration(200.0, 0.0, 0.5), features=plan.spec["features"], input=plan.spec["input"],
        untrained=True,
    )  # fmt: skip
    (folder / "run").mkdir()
    write_head(folder / "run", head, to_table(TrainSettings(preset="tiny")), {"paths": [], "fingerprints": [""]}, {})
    return folder


def rows(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# What holds a window together


def test_only_the_newest_is_kept_and_taken_once():
    place = Newest()
    assert place.take(0.0) is None
    place.put("old")
    place.put("new")
    assert (place.take(0.0), place.take(0.0), place.over) == ("new", None, False)
    place.put("last")
    place.close()
    assert not place.over
    assert (place.take(0.0), place.over) == ("last", True)


def test_whoever_waits_is_woken():
    place = Newest()
    threading.Timer(0.05, lambda: place.put("here")).start()
    assert place.take(30.0) == "here"


def test_quantiles_of_lags_by_hand():
    lags = Lags()
    assert lags.summary() == {"median": None, "p95": None, "max": None}
    for milliseconds in range(1, 101):
        lags.add(milliseconds)
    assert lags.summary() == {"median": 50.0, "p95": 95.0, "max": 100.0}
    lags.add(1e9)
    assert lags.summary()["max"] == 60_000.0


def test_a_window_is_scored_as_a_clip_of_its_frames():
    rng = np.random.default_rng(0)
    window = SlidingWindow(20.0, 0.6, 0.5, members=3)
    found, intervals = [], 0
    for number in range(160):
        members = rng.uniform(0, 1, 3)
        gone = 60 <= number < 100
        score = None if gone else FaceScore(float(members.mean()), members, {})
        frame = Frame(number / 4, Face("none" if gone else "found"), {})
        found.append((frame.time, np.nan if gone else members.mean(), np.full(3, np.nan) if gone else members))
        seen = window.add(frame, score)
        held = [one for one in found if one[0] > frame.time - 20.0]
        time, probability, by_member = (np.array(values) for values in zip(*held, strict=True))
        face = np.where(np.isnan(probability), FACE_STATES.index("none"), FACE_STATES.index("found"))
        clip = Frames(time, face, np.full((len(time), 4), np.nan), probability, by_member.T)
        assert seen == score_clip("window", clip, time[-1] - time[0], 0.5, ScoreSettings(min_coverage=0.6))
        assert seen.frames_sampled <= 80
        intervals += seen.low is not None
    assert intervals > 10
    assert {seen.status for seen in (window.add(Frame(100.0, Face("none"), {}), None),)} == {"abstained"}


# Whose face, at once


def sighting(x, y, side):
    return Sighting((x, y, side, side), 0.9)


def noise():
    return np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


def boxes(frames_of_faces, step=0.25):
    choice = AtOnce(InputSettings((32,), faces="haar", policy="track"))
    frames = [choice.frame(n * step, noise(), faces) for n, faces in enumerate(frames_of_faces)]
    return [(frame.face.state, frame.face.box[0]) for frame in frames], choice


def test_nothing_is_held_back_and_who_fills_most_is_followed():
    small, large = sighting(10, 10, 40), sighting(150, 50, 80)
    found, choice = boxes([[small], [large, small], *[[large, small]] * 10, [small]])
    assert found[0] == ("found", 10.0)
    assert found[1] == ("several", 150.0)
    assert found[2:12] == [("several", 150.0)] * 10
    assert found[12][0] == "lost"
    assert choice.notes() == ()


def test_somebody_else_is_followed_when_the_person_stays_away():
    first, second = sighting(150, 50, 80), sighting(10, 10, 60)
    away = int(FORGOTTEN / 0.25)
    found, choice = boxes([[first]] * 10 + [[second]] * (away + 3))
    assert [state for state, _ in found[10 : 10 + away]] == ["lost"] * away
    assert found[-1] == ("found", 10.0)
    assert "1 times" in choice.notes()[0]


def test_other_policies_choose_in_every_frame():
    choice = AtOnce(InputSettings((32,), faces="haar", policy="central"))
    frame = choice.frame(0.0, noise(), [sighting(150, 50, 80), sighting(130, 80, 40)])
    assert frame.face.box[0] == 130.0


# Sources


def clip(path, frames, rate=20.0):
    """Frame i is grey of level 4·i."""
    write_clip(path, (np.full((48, 64, 3), 4 * i % 256, np.uint8) for i in range(frames)), rate)
    return os.fsencode(path)


def test_a_clip_is_due_at_its_own_pace(tmp_path):
    samples = []
    for sample in Paced(clip(tmp_path / "c.mp4", 21), 10.0).samples(lambda: None):
        assert time.monotonic() >= sample.due
        samples.append(sample)
    assert [round(s.time, 2) for s in samples] == [round(0.1 * k, 2) for k in range(11)]
    assert [s.due - samples[0].due for s in samples] == pytest.approx([s.time for s in samples])
    assert samples[5].pixels.mean() == pytest.approx(40, abs=4)


def test_a_clip_that_is_decoded_too_slowly_pauses_and_says_so(tmp_path):
    source = Paced(clip(tmp_path / "c.mp4", 21), 10.0)
    samples = []
    for sample in source.samples(lambda: None):
        samples.append(sample)
        if len(samples) == 1:
            time.sleep(0.1 + 2 * live_capture.LATEST)
    gaps = np.diff([s.due for s in samples])
    assert gaps[0] > 0.1 + live_capture.LATEST
    assert gaps[1:] == pytest.approx(0.1)
    assert "could not be decoded at its own pace" in source.notes[0]


def test_nothing_is_said_of_the_end_of_a_clip_that_plays_on(tmp_path):
    source = Paced(clip(tmp_path / "c.mp4", 21), 10.0)
    assert all(source.notes == () for _ in source.samples(lambda: None))


def test_a_clip_that_nobody_reads_to_its_end_is_closed(tmp_path):
    path = clip(tmp_path / "c.mp4", 21)
    source = Paced(path, 10.0)
    samples = source.samples(lambda: None)
    next(samples)
    assert path in opened()
    samples.close()
    assert path not in opened() and source.notes == ()


def opened():
    """Names of the files that this process has open."""
    found = []
    for number in os.listdir(b"/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(b"/proc/self/fd/" + number))
    return found


def test_a_reader_passes_over_what_nobody_takes(tmp_path):
    taken = []
    with Reader(Paced(clip(tmp_path / "c.mp4", 41), 20.0)) as reader:
        while not reader.over:
            got = reader.take(1.0)
            if got:
                taken.append(got[0])
                time.sleep(0.3)
    assert taken == sorted(set(taken)) and taken[-1] == 40
    assert len(taken) < 20


def test_what_goes_wrong_while_reading_comes_out_at_whoever_takes(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    reader = Reader(Paced(os.fsencode(tmp_path / "text.mp4"), 4.0))
    with reader, pytest.raises(MediaError, match="not a video"):
        while not reader.over:
            reader.take(1.0)


def cut(path, seconds=2.0, part=0.6):
    """Matroska tells how long it is at its beginning: the first part of such a file, as after a full disk."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 120, "yuv420p", 5
        rng = np.random.default_rng(0)
        for _ in range(round(20 * seconds)):
            pixels = rng.integers(0, 256, (120, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    return path


def watched(path):
    """How many samples of a clip came, what ended it, and its notes."""
    with Live(locate(os.fsdecode(path)), InputSettings((32,), fps=8)) as live:
        taken, reason = [], ""
        try:
            while not live.over:
                taken.append(live.take(1.0))
        except MediaError as error:
            reason = error.reason
        return sum(sample is not None for sample in taken), reason, live.notes


@pytest.mark.parametrize("name", ["truncated_faststart_90.mp4", "bitrot_h265.mp4"])
def test_a_clip_that_damage_ends_too_early_is_lost(awkward_dev, name):
    taken, reason, notes = watched(awkward_dev / "videos" / name)
    assert taken >= 1
    assert re.search(r"\.mp4: ended after [01]\.\d of 2\.0 s, damaged or cut \(\[", reason)
    assert "packets at which the decoder told of damage" in " ".join(notes)


@pytest.mark.parametrize("name", ["editlist_start1s.mp4", "lies_stts_100000.mp4", "lies_mkv_1000h.mkv"])
def test_what_a_container_declares_alone_ends_nothing_too_early(awkward_dev, name):
    taken, reason, notes = watched(awkward_dev / "videos" / name)
    assert taken > 3 and reason == "" and not any("damage" in note for note in notes)


def test_damage_under_way_is_told_and_no_end(awkward_dev):
    taken, reason, notes = watched(awkward_dev / "videos" / "bitrot_mpeg1.mpg")
    assert taken > 3 and reason == ""
    assert "packets at which the decoder told of damage" in " ".join(notes)


@pytest.fixture
def camera(tmp_path):
    """A pipe that is fed pictures at 20 a second when somebody opens it, 30 of them, and then goes away."""
    path = tmp_path / "camera"
    os.mkfifo(path)
    feeder = threading.Thread(target=_feed, args=(path, 30), daemon=True)
    feeder.start()
    yield path
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # a feeder that waits for somebody still
    feeder.join(10.0)


def _feed(path, pictures):
    try:
        with open(path, "wb", buffering=0) as out, av.open(out, "w", format="avi") as container:
            stream = container.add_stream("mjpeg", rate=20)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
            for number in range(pictures):
                frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 8 * number % 256, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 20)
                for packet in stream.encode(frame):
                    container.mux(packet)
                time.sleep(0.05)
    except (BrokenPipeError, av.error.BrokenPipeError):
        pass  # whoever looked has gone


def test_a_camera_gives_its_pictures_and_is_missed_when_it_goes_away(camera, monkeypatch):
    monkeypatch.setattr(live_capture, "SILENCE", 0.5)
    reader, taken = Reader(Camera(os.fsencode(camera), 10.0)), []
    with reader, pytest.raises(MediaError, match=r"went away: no picture for 0\.5 s"):
        while not reader.over:
            got = reader.take(0.1)
            taken += [got] if got else []
    times = [sample.time for _, sample in taken]
    assert times[0] == 0.0 and times == sorted(times)
    assert {sample.pixels.shape for _, sample in taken} == {(120, 160, 3)}
    levels = [sample.pixels.mean() for _, sample in taken]
    assert max(levels) > 150  # the newest, not what was first in a queue
    assert not reader.is_alive()


def test_a_camera_that_never_sends_a_picture_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(live_capture, "FIRST", 0.3)

    class Still(Camera):
        def __init__(self):
            self._capture = live_capture.cv2.VideoCapture()  # opened by nobody: grabs nothing

    reader = Reader(Still())
    with reader, pytest.raises(MediaError, match="sends no picture"):
        while not reader.over:
            reader.take(0.1)
    assert not reader.is_alive()


def test_sources_that_cannot_be_meant(tmp_path):
    assert locate("0" if os.path.exists("/dev/video0") else str(Path(__file__))).what in ("camera", "paced")
    with pytest.raises(SettingsError, match="the network is not read"):
        locate("rtsp://10.0.0.1/stream")
    with pytest.raises(SourceError, match="No such file"):
        locate(str(tmp_path / "absent.mp4"))
    with pytest.raises(SourceError, match="a directory"):
        locate(str(tmp_path))
    if sys.platform.startswith("linux"):
        for name in ("9876", "/dev/video9876"):
            with pytest.raises(SourceError, match="camera 9876 is not there; this machine has"):
                locate(name)


def test_a_worker_that_dies_is_a_source_that_stopped(tmp_path):
    with Live(locate(os.fsdecode(clip(tmp_path / "c.mp4", 200))), InputSettings((32,), fps=10)) as live:
        assert live.take(30.0).number == 0
        os.kill(live._decoder.pid, signal.SIGKILL)
        with pytest.raises(MediaError, match="crashed"):
            while not live.over:
                live.take(1.0)


# The whole path


def test_a_clip_gets_the_scores_that_score_videos_gives_it(work, tmp_path):
    film, out = work / "film.mp4", tmp_path / "scores"
    arguments = ["--head", work / "run", "--faces", "none", "--fps", "8", "--engine", "xla", "--tables-only"]
    cli("score-videos", film, *arguments, "--out", out)
    expected = {row["time_s"]: float(row["probability"]) for row in rows(out / "frames.csv")}
    events = []
    summary = monitor(
        str(film), load_head(work / "run"), WHOLE, MonitorSettings(), tmp_path / "new" / "r.csv", events.append
    )
    frames = [event for event in events if isinstance(event, LiveFrame)]
    recorded = rows(tmp_path / "new" / "r.csv")
    assert tuple(recorded[0]) == COLUMNS
    assert len(recorded) == len(frames) == summary["frames_scored"] > 1
    assert [float(row["probability"]) for row in recorded] == pytest.approx(
        [expected[row["time_s"]] for row in recorded], abs=2e-3
    )
    assert np.ptp(list(expected.values())) > 0.05  # or it would be no wonder
    assert summary["frames_seen"] == summary["frames_scored"] + summary["frames_dropped"] == len(expected)
    assert (summary["ended"], summary["coverage"]) == ("end of the source", 1.0)
    last = frames[-1]
    assert last.score == pytest.approx(np.mean([m.probability for m in frames]), abs=1e-6)
    assert last.members_low <= last.score <= last.members_high
    assert last.low is None and last.lag_ms > 0  # 2.5 s are too short for an interval
    assert {row["warning"] for row in recorded} == {UNTRAINED}
    assert summary["untrained"] and json.loads((tmp_path / "new" / "r.summary.json").read_text()) == summary


def test_emotions_are_those_of_score_videos_and_recorded_with_every_frame(work, tmp_path):
    write_run(tmp_path / "run", target="emotion")
    film, names = work / "film.mp4", ["happy", "neutral", "sad"]
    arguments = ["--head", tmp_path / "run", "--faces", "none", "--fps", "8", "--engine", "xla", "--tables-only"]
    cli("score-videos", film, *arguments, "--out", tmp_path / "s")
    expected = {row["time_s"]: row for row in rows(tmp_path / "s" / "frames.csv")}
    events, head = [], load_head(tmp_path / "run")
    summary = monitor(str(film), head, WHOLE, MonitorSettings(), tmp_path / "r.csv", events.append)
    recorded, frames = rows(tmp_path / "r.csv"), [event for event in events if isinstance(event, LiveFrame)]
    assert list(recorded[0]) == [*COLUMNS, *names]
    for row in recorded:
        assert [float(row[name]) for name in names] == pytest.approx(
            [float(expected[row["time_s"]][name]) for name in names], abs=2e-3
        )
        assert float(row["neutral"]) + float(row["sad"]) == pytest.approx(float(row["probability"]), abs=2e-4)
    means = {name: np.mean([frame.frame_emotions[name] for frame in frames]) for name in names}
    assert frames[-1].emotions == pytest.approx(means) and summary["emotions"] == pytest.approx(means)
    assert summary["window"]["emotions"] == frames[-1].emotions


def test_a_recording_has_columns_for_emotions_though_it_begins_without_a_face(tmp_path):
    known = {"time_s": 0.0, "wall_clock": "now", "face": "none", "box": None, "probability": None, "score": None}
    known |= {"low": None, "high": None, "members_low": None, "members_high": None, "decision": "abstained"}
    known |= {"threshold": 0.5, "coverage": 0.0, "lag_ms": 1.0, "scored": 1, "dropped": 0, "warning": "", "meaning": ""}
    with Record(tmp_path / "r.csv") as record:
        record.add(LiveFrame("film", **known, frame_emotions={"sad": None, "=x": None, "face": None}))
        record.add(LiveFrame("film", **known, frame_emotions={"sad": 0.5, "=x": 0.25, "face": 0.25}))
    first, second = rows(tmp_path / "r.csv")
    assert list(first) == [*COLUMNS, "sad", "'=x", "p_face"]
    assert (first["sad"], second["sad"], second["p_face"], second["face"]) == ("", "0.5000", "0.2500", "none")


def test_a_face_that_is_looked_for_gets_the_scores_of_score_videos_too(work, clips_dev, tmp_path):
    film, out = clips_dev / "clips" / "grid_bbaf2n.mpg", tmp_path / "scores"
    arguments = ["--head", work / "run", "--faces", "haar", "--fps", "4", "--engine", "xla", "--tables-only"]
    cli("score-videos", film, *arguments, "--out", out)
    expected = {row["time_s"]: row for row in rows(out / "frames.csv")}
    reading = ExtractSettings(faces="haar", fps=4.0, engine="xla")
    monitor(str(film), load_head(work / "run"), reading, MonitorSettings(), tmp_path / "r.csv")
    recorded = rows(tmp_path / "r.csv")
    found = [row for row in recorded if row["probability"]]
    assert len(found) > 3 and float(found[0]["width"]) < 300
    for row in recorded:
        there = expected[row["time_s"]]
        assert [row[name] for name in ("face", "x", "width")] == [there[name] for name in ("face", "x", "width")]
        assert bool(row["probability"]) == bool(there["probability"])
    assert [float(row["probability"]) for row in found] == pytest.approx(
        [float(expected[row["time_s"]]["probability"]) for row in found], abs=2e-3
    )


def test_a_clip_that_breaks_off_leaves_complete_files_and_status_3(work, tmp_path):
    film, record = cut(tmp_path / "cut.mkv"), tmp_path / "r.csv"
    arguments = ["--source", film, "--faces", "none", "--fps", "8", "--engine", "xla", "--record", record, "--json"]
    result = cli("monitor", work / "run", *arguments, code=3)
    summary = json.loads(result.stdout)
    assert re.fullmatch(rf"lost: {film}: ended after 1\.\d of 2\.0 s, damaged or cut \(.+\)", summary["ended"])
    assert len(rows(record)) == summary["frames_scored"] > 3
    assert any(note.startswith("the decoder said: ") for note in summary["notes"])
    assert f"warning: {film}: the decoder said: " in result.stderr
    assert json.loads((tmp_path / "r.summary.json").read_text()) == summary


def test_it_ends_when_its_seconds_are_over_and_tells_as_it_goes(work):
    film = work / "film.mp4"
    arguments = [work / "run", "--source", film, "--faces", "none", "--engine", "xla", "--seconds", "0.5"]
    result = cli("monitor", *arguments, "--json", "--progress", "json")
    summary = json.loads(result.stdout)
    frames = [event for line in result.stderr.splitlines() if (event := json.loads(line))["event"] == "frame"]
    assert summary["ended"] == "seconds" and summary["seconds"] >= 0.5
    assert len(frames) == summary["frames_scored"] and frames[-1]["score"] == summary["window"]["score"]
    plain = cli("monitor", *arguments)
    assert f"{film}: 0.0 s, score 0." in plain.stderr and UNTRAINED in plain.stderr
    assert "not a diagnosis" in plain.stdout.replace("\n", " ") and UNTRAINED in plain.stdout


def test_a_camera_that_goes_away_leaves_complete_files_and_status_3(work, camera, tmp_path, monkeypatch):
    from facedep_jax.monitor import live_scoring

    monkeypatch.setattr(
        live_scoring, "locate", lambda source: Located("camera", os.fsencode(camera), f"camera {source}")
    )
    record = tmp_path / "r.csv"
    arguments = ["--source", "0", "--faces", "none", "--engine", "xla", "--record", record, "--json"]
    summary = json.loads(cli("monitor", work / "run", *arguments, code=3).stdout)
    assert summary["ended"] == "lost: camera 0: went away: no picture for 5 s"
    assert len(rows(record)) == summary["frames_scored"] >= 1
    assert json.loads((tmp_path / "r.summary.json").read_text())["ended"] == summary["ended"]


def test_ctrl_c_ends_with_complete_files_and_status_130(work, tmp_path):
    record = tmp_path / "r.csv"
    arguments = ["monitor", work / "run", "--source", work / "film.mp4", "--faces", "none", "--fps", "4"]
    command = [sys.executable, ROOT / "cli.py", *arguments, "--record", record, "--engine", "xla", "--json"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 100
        while not record.exists() or len(record.read_text().splitlines()) < 3:
            assert process.poll() is None and time.monotonic() < until, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert b"Traceback" not in complained
    summary = json.loads(said)
    assert summary["ended"] == "interrupted"
    recorded = rows(record)
    assert len(recorded) == summary["frames_scored"]
    assert all(row["lag_ms"] and row["warning"] == UNTRAINED for row in recorded)
    assert json.loads((tmp_path / "r.summary.json").read_text()) == summary


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_in_a_terminal_leave_complete_files_and_its_cursor_too(work, tmp_path, number):
    record, root = tmp_path / "r.csv", ROOT
    arguments = ["monitor", work / "run", "--source", work / "film.mp4", "--faces", "none", "--fps", "4"]
    heard = f"import signal, runpy; signal.signal({int(number)}, signal.SIG_DFL); runpy.run_path('{root / 'cli.py'}', "
    started = [sys.executable, "-c", heard + "run_name='__main__')"]  # what nohup starts would ignore SIGHUP
    command = [*started, *arguments, "--record", record, "--engine", "xla", "--json"]
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(list(map(str, command)), stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.set_blocking(ours, False)
    said, sent, until = b"", False, time.monotonic() + 100
    while process.poll() is None and not (sent and number == signal.SIGHUP):
        assert time.monotonic() < until, said
        said += _read(ours)
        if not sent and record.exists() and len(record.read_text().splitlines()) >= 3:
            process.send_signal(number)
            sent = True
        time.sleep(0.1)
    said += _read(ours)
    os.close(ours)  # after SIGHUP the terminal is gone, and every word to it would be an error
    assert process.wait(60) == 128 + number, said
    summary = json.loads((tmp_path / "r.summary.json").read_text())
    assert summary["ended"] == "interrupted" and len(rows(record)) == summary["frames_scored"]
    hidden, shown = (said.rfind(code) for code in (b"\x1b[?25l", b"\x1b[?25h"))
    assert hidden >= 0 and (shown > hidden or number == signal.SIGHUP)


def _read(handle):
    try:
        return os.read(handle, 1 << 20)
    except OSError:  # nothing to read, or nobody who writes
        return b""


def test_a_listener_can_stop_while_nothing_comes(work, tmp_path, monkeypatch):
    """A camera may be silent for seconds: Ctrl-C must not wait for its next picture."""
    from facedep_jax.monitor import live_scoring

    path = tmp_path / "silent"
    os.mkfifo(path)
    monkeypatch.setattr(live_scoring, "locate", lambda source: Located("camera", os.fsencode(path), "camera 0"))

    def stop(event):
        if isinstance(event, Tick):
            raise Interrupted

    summary = monitor("0", load_head(work / "run"), WHOLE, MonitorSettings(), tmp_path / "r.csv", stop)
    assert (summary["ended"], summary["frames_seen"], summary["score"]) == ("interrupted", 0, None)
    assert not (tmp_path / "r.csv").exists()


def test_bad_input_is_one_clear_line_and_leaves_nothing(work, tmp_path):
    film = work / "film.mp4"
    (tmp_path / "taken.csv").write_text("precious")
    (tmp_path / "empty").mkdir()
    run, whole = work / "run", ("--faces", "none", "--engine", "xla")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[:400])
    cases = [
        ([run, "--source", "9876"], 1, "camera 9876"),
        ([run, "--source", tmp_path / "absent.mp4"], 1, "absent.mp4: cannot be read: No such file"),
        ([run, "--source", broken, *whole], 1, "broken.mp4: not a video"),
        ([run, "--source", "http://localhost/a.mjpg"], 2, "the network is not read"),
        ([run, "--source", film, "--seconds", "0"], 2, "--seconds is 0"),
        ([run, "--source", film, "--window", "1e9"], 2, "--window is"),
        ([run, "--source", film, "--min-coverage", "2"], 2, "--min-coverage is 2"),
        ([run, "--source", film, "--weights", tmp_path / "empty"], 1, "needs the weights that its features came from"),
        ([tmp_path / "absent", "--source", film], 1, "absent"),
        ([run, "--source", film, "--record", tmp_path / "taken.csv"], 1, "taken.csv exists"),
    ]
    for arguments, code, message in cases:
        result = cli("monitor", *arguments, code=code)
        (error,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error:")]
        assert message in error, arguments
    assert (tmp_path / "taken.csv").read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.mp4", "empty", "taken.csv"]
