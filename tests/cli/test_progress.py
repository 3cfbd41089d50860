"""What long work shows while it runs: on terminals of any width, of another width under way, in pipes and as JSON."""

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console
from support.paths import ROOT

from facedep_jax.api.progress_rate import SPAN, Pace, clock, facts
from facedep_jax.cli import main
from facedep_jax.cli.terminal.bars import ending, wrapped
from facedep_jax.cli.terminal.interactive_display import SHOWN_FAILURES, TerminalDisplay
from facedep_jax.cli.terminal.monitor_panel import panel
from facedep_jax.cli.terminal.progress_displays import PatientConsole, PlainDisplay, make_display
from facedep_jax.cli.terminal.tables import facts_table, plain_table, show_table
from facedep_jax.disclaimer import UNTRAINED, meaning
from facedep_jax.media.media_writer import write_clip
from facedep_jax.progress_events import Failure, LiveFrame, Note, Progress, Tick, Waiting

FAST = ["--weights", "random:1", "--taps", "mobilenet_v2:mid@1", "--size", "32", "--faces", "none", "--engine", "xla"]
HOSTILE = "no\x1b[31m \n[red]:smile:\u202egpj.mp4"
SHOWN = "no\\x1b[31m \\n[red]:smile:\\u202egpj.mp4"


class Screen:
    """As much of a terminal as displays need: lines that wrap and that are wrapped anew when it changes its width."""

    def __init__(self, width):
        self.width, self.lines, self.row, self.column = width, [""], 0, 0

    def feed(self, text):
        for escape, sign in re.findall(r"\x1b\[([?0-9;]*[A-Za-z])|(.)", text, re.DOTALL):
            if escape == "2K":
                self.lines[self.row] = ""
            elif escape.endswith("A"):
                self.row = max(0, self.row - int(escape[:-1] or 1))
            elif sign == "\r":
                self.column = 0
            elif sign == "\n":
                self._down(broken=False)
            elif sign:
                self._put(sign)
            else:
                assert escape[-1] in "mhl", escape  # colours, and the cursor shown or hidden

    def _put(self, sign):
        assert sign.isprintable(), repr(sign)
        if self.column == self.width:
            self._down(broken=True)
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + sign + line[self.column + 1 :]
        self.column += 1

    def _down(self, broken):
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append("")

    def resize(self, width):
        """Narrower: lines that are too long become several, and the cursor stays behind what it stood behind."""
        lines, row = [], self.row
        for number, line in enumerate(self.lines):
            parts = [line[at : at + width] for at in range(0, len(line), width)] or [""]
            if number < self.row:
                row += len(parts) - 1
            elif number == self.row:
                row += max(0, self.column - 1) // width
                column = self.column - max(0, self.column - 1) // width * width
            lines += parts
        self.width, self.lines, self.row, self.column = width, lines, row, column

    def text(self):
        return [line.rstrip() for line in self.lines]


class Terminal(io.StringIO):
    """A console's file that a screen shows."""

    encoding = "utf-8"

    def __init__(self, width, height=24):
        super().__init__()
        self.screen = Screen(width)
        self.console = Console(file=self, force_terminal=True, width=width, height=height, highlight=False, emoji=False)
        self.display = TerminalDisplay(self.console)

    def write(self, text):
        self.screen.feed(text.replace("\n", "\r\n"))
        return len(text)

    def resize(self, width):
        with self.display._lock:  # a terminal does both at once
            self.screen.resize(width)
            self.console.size = (width, self.console.height)


def extraction(done, failed=0, total=40, **more):
    return Progress("extract", done, total, "clips", failed, "a.mp4", frames=100 * done, media_s=25.0 * done, **more)


def live_frame(**more):
    known = {
        "source": "camera 0", "time_s": 12.5, "wall_clock": "2026-01-01T12:00:00+00:00", "face": "found",
        "box": (1.0, 2.0, 30.0, 40.0), "probability": 0.7, "score": 0.64, "low": 0.58, "high": 0.71,
        "members_low": 0.52, "members_high": 0.74, "decision": "positive", "threshold": 0.41, "coverage": 0.95,
        "lag_ms": 112.0, "scored": 49, "dropped": 3, "warning": UNTRAINED, "meaning": meaning(("happy",)),
        "emotions": {"happy": 0.36, "sad": 0.64},
        "frame_emotions": {"happy": 0.3, "sad": 0.7},
    }  # fmt: skip
    return LiveFrame(**(known | more))


# Rates


def test_rates_and_time_left_by_hand():
    pace = Pace(extraction(0), 0.0)
    for second in range(11):
        pace.add(extraction(2 * second), float(second))
    event = extraction(20)
    assert pace.rate(event) == pytest.approx(2.0)
    assert pace.left(event) == pytest.approx(10.0)
    assert pace.reading(event) == pytest.approx((200.0, 50.0))
    assert facts(event, pace) == ["2,000 frames", "200.0 frames/s", "50.0x real time", "0:10 left"]


def test_a_rate_looks_back_half_a_minute_and_forgets_what_was_reused_at_once():
    reused = Progress("extract", 100, 1000, "images")  # in the cache already
    pace = Pace(reused, 0.0)
    pace.add(reused, 0.0)
    for second in range(1, 101):
        pace.add(Progress("extract", 100 + second, 1000, "images"), float(second))
    assert pace.rate(Progress("extract", 200, 1000, "images")) == pytest.approx(1.0)
    for second in range(1, int(SPAN) + 2):
        pace.add(Progress("extract", 200 + 10 * second, 1000, "images"), 100.0 + second)
    assert pace.rate(Progress("extract", 200 + 10 * (int(SPAN) + 1), 1000, "images")) == pytest.approx(10.0)


def test_units_that_take_minutes_each_have_a_time_left():
    pace = Pace(extraction(0), 0.0)
    for number in range(5):
        pace.add(extraction(number), 200.0 * number)
    assert pace.left(extraction(4)) == pytest.approx(36 * 200.0)


def test_of_what_takes_long_it_is_told_how_long_one_takes():
    for seconds, said in ((173.0, "2:53 each"), (4.0, "0:04 each"), (0.1, "10.0/s")):
        epochs = [Progress("train", done, 16, "epochs") for done in (0, 1)]
        pace = Pace(epochs[0], 0.0)
        for event in epochs:
            pace.add(event, event.done * seconds)
        assert facts(epochs[1], pace)[0] == said
    waiting = Pace(epochs[0], 0.0)
    waiting.add(epochs[0], 9.0)
    assert facts(epochs[0], waiting) == []


def test_before_anything_is_done_nothing_is_promised():
    pace = Pace(extraction(0), 0.0)
    pace.add(extraction(0), 0.0)
    assert pace.left(extraction(0)) is None and pace.reading(extraction(0)) is None


def test_clocks():
    assert [clock(s) for s in (5, 750, 10930)] == ["0:05", "12:30", "3:02:10"]


# Terminals


@pytest.mark.parametrize("width", [32, 40, 80, 120])
def test_bars_fit_and_say_everything(width):
    terminal = Terminal(width)
    with terminal.display:
        for done in range(0, 40, 5):
            terminal.display.report(extraction(done, failed=done // 10))
        terminal.display.report(Tick())
        shown = terminal.screen.text()
        assert max(map(len, shown)) < width
        everything = " ".join(shown)
        for said in ("extract", "35/40 clips", "3,500 frames", "x real time", "left", "3 failed"):
            assert said in everything
        terminal.display.report(extraction(40, failed=4))
    shown = terminal.screen.text()
    assert "40/40 clips" in " ".join(shown) and sum("extract" in line for line in shown) == 1


def test_a_terminal_that_becomes_narrower_and_wider_shows_each_bar_once():
    terminal = Terminal(120)
    with terminal.display:
        for number, width in enumerate((120, 40, 33, 90, 40, 120)):
            terminal.resize(width)
            terminal.display.report(Note(f"note {number}"))
            terminal.display.report(extraction(10 + number))
            terminal.display.report(Tick())
            shown = terminal.screen.text()
            assert sum("extract" in line for line in shown) == 1, shown
            assert [line for line in shown if "note" in line] == [f"note {n}" for n in range(number + 1)]


def test_failures_come_above_the_bars_and_obey_nothing():
    terminal = Terminal(60)
    with terminal.display:
        terminal.display.report(extraction(1))
        terminal.display.report(Failure(HOSTILE, "decode", "not a \x1b[2Jvideo"))
        terminal.display.report(extraction(2, failed=1))
        shown = terminal.screen.text()
    assert " ".join(shown).startswith(f"failed: {SHOWN}: not a \\x1b[2Jvideo extract")


def test_a_flood_of_failures_is_counted_and_not_shown():
    terminal = Terminal(80)
    with terminal.display:
        for number in range(SHOWN_FAILURES + 20):
            terminal.display.report(Failure(f"{number}.jpg", "decode", "no image"))
    shown = terminal.screen.text()
    assert sum(line.endswith("no image") for line in shown) == SHOWN_FAILURES
    assert sum("more files" in line for line in shown) == 1


def test_what_a_library_prints_goes_above_the_bars(capsys):
    terminal = Terminal(60)
    with terminal.display:
        terminal.display.report(extraction(1))
        print("half a ", end="", file=sys.stderr)
        print("line\x1b[31m", file=sys.stderr)
        shown = terminal.screen.text()
    assert shown[0] == "half a line\\x1b[31m" and shown[1].startswith("extract")
    print("after", file=sys.stderr)
    assert capsys.readouterr().err == "after\n"


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes anything for a terminal
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_display("auto")) is PlainDisplay
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_display("auto")) is TerminalDisplay
    assert type(make_display("plain")) is PlainDisplay


# The live view


@pytest.mark.parametrize("width", [24, 40, 80, 120])
def test_a_live_panel_fits_and_says_everything(width):
    terminal = Terminal(width, height=40)
    with terminal.display:
        terminal.display.report(live_frame(scored=48))
        terminal.display.report(live_frame())
        shown = terminal.screen.text()
    assert max(map(len, shown)) < width
    everything = " ".join(" ".join(shown).split())
    for said in ("camera 0", "0.640", "positive", "threshold 0.41", "0.58 to 0.71 within the window", "found",
                 "members 0.52 to 0.74", "coverage 95%", "112 ms", "49 frames scored", "3 dropped", "UNTRAINED",
                 "happy", "0.36", "sad", "0.64", "not a diagnosis"):  # fmt: skip
        assert said in everything or (width < 40 and len(said) > 12), said
    assert "48 frames" not in everything


def test_small_bars_of_emotions_stand_side_by_side_and_give_way_to_figures():
    eight = {name: number / 10 for number, name in enumerate(("angry", "contempt", "日本", "d", "e", "f", "g", "h"))}
    bars = [line.plain for line in panel(live_frame(emotions=eight), 79, True, 0.0) if "--- 0." in line.plain]
    assert bars[0] == "  looks  angry    ------ 0.00  contempt #----- 0.10  日本     #----- 0.20"
    assert bars[1] == "         d        ##---- 0.30  e        ##---- 0.40  f        ###--- 0.50" and len(bars) == 2
    narrow = " ".join(line.plain.strip() for line in panel(live_frame(emotions=eight), 24, True, 0.0))
    assert "angry 0.00" in narrow and "contempt" in narrow
    none = [line.plain for line in panel(live_frame(emotions={}), 79, True, 0.0)]
    assert not any(line.startswith("  looks") for line in none)


@pytest.mark.parametrize("width", [24, 40, 79])
@pytest.mark.parametrize(
    "name", ["日本語の動画.mp4", "/clips/" + "長い名前🙂" * 20 + ".mp4", "short.mp4", "n" * 100 + ".mp4"]
)
def test_characters_that_take_two_cells_are_counted_as_two(width, name):
    head = panel(live_frame(source=name), width, False, 0.0)[0]
    assert cell_len(head.plain) in (width, width - 1)  # what takes two cells leaves one where one is left
    assert ".mp4 " in head.plain and (name in head.plain) == (cell_len(name) <= width - 6)
    assert (ending("a語", 2), ending("a語", 1), ending("a語", -1)) == ("語", "", "")
    assert wrapped(["語" * 10, "語" * 10], 40)[0].plain == "  " + "語" * 10
    assert len(wrapped(["語" * 9, "語" * 9], 40)) == 1 and len(wrapped(["語" * 9, "語" * 9], 39)) == 2


def test_in_a_terminal_with_few_rows_the_score_comes_first():
    terminal = Terminal(60, height=4)
    with terminal.display:
        for _ in range(3):
            terminal.display.report(live_frame(source=HOSTILE))
        shown = terminal.screen.text()
    assert len(shown) == 3 and "0.640" in shown[1] and SHOWN in shown[0]


def test_a_live_view_without_a_face_or_interval_says_so(capsys):
    gone = live_frame(
        face="none", probability=None, score=None, low=None, high=None, members_low=None, members_high=None,
        decision="abstained: no face in any sampled frame", box=None, warning="", emotions={},
        frame_emotions={"happy": None, "sad": None},
    )  # fmt: skip
    terminal = Terminal(80)
    with terminal.display:
        terminal.display.report(gone)
        assert "abstained: no face in any sampled frame" in " ".join(terminal.screen.text())
    PlainDisplay().report(gone)
    assert "no score" in (said := capsys.readouterr().err) and "None" not in said


# Pipes


def test_a_live_view_in_a_pipe_is_a_line_every_few_seconds_and_json_is_one_for_every_frame(capsys):
    plain = make_display("plain")
    for _ in range(5):
        plain.report(live_frame())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("camera 0: 12.5 s, score 0.640, ") and UNTRAINED in line
    as_json = make_display("json")
    as_json.report(live_frame())
    as_json.report(Tick())
    as_json.report(Failure("a.mp4", "decode", "no video"))
    frame, failure = map(json.loads, capsys.readouterr().err.splitlines())
    assert frame["emotions"] == {"happy": 0.36, "sad": 0.64} and "happy 0.36, sad 0.64" in line
    assert (frame["event"], frame["score"], frame["box"]) == ("frame", 0.64, [1.0, 2.0, 30.0, 40.0])
    assert failure == {"event": "failure", "path": "a.mp4", "stage": "decode", "reason": "no video"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three clips of 2 s, and two files that are none, one with a hostile name."""
    folder = tmp_path_factory.mktemp("material") / "clips"
    for number in range(3):
        level = np.full((48, 64, 3), 40 * number, np.uint8)
        write_clip(folder / f"{number}.mp4", (level for _ in range(20)), 10.0)
    (folder / "notes.mp4").write_text("hello")
    (folder / HOSTILE).write_text("no video")
    return folder


def test_extraction_tells_of_frames_seconds_and_failures_as_they_come(clips, tmp_path):
    arguments = ["extract-features", str(clips), *FAST, "--fps", "5", "--out", str(tmp_path / "c")]
    result = CliRunner().invoke(main, [*arguments, "--progress", "json"])
    assert result.exit_code == 3
    events = [json.loads(line) for line in result.stderr.splitlines()]
    failures = [event for event in events if event["event"] == "failure"]
    assert sorted(event["path"] for event in failures) == sorted(["notes.mp4", HOSTILE])
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["done"], last["failed"], last["frames"], last["media_s"]) == (5, 2, 30, 6.0)
    failed_at = [number for number, event in enumerate(events) if event["event"] == "failure"]
    assert failed_at[0] < len(events) - 2  # not all at the end

    plain = CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "d")])
    assert f"failed: {SHOWN}: not a video" in plain.stderr
    assert re.search(r"extract: 5/5 clips, 30 frames, \S+ frames/s, \S+x real time, 2 failed", plain.stderr)
    for text in (plain.stderr, plain.stdout):
        assert "\x1b" not in text and "\u202e" not in text
    assert SHOWN in plain.stdout.replace("\n", "")


def test_a_real_terminal_of_40_columns_that_becomes_narrower(clips, tmp_path):
    ours, theirs = pty.openpty()
    size = lambda columns: fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))  # noqa: E731
    size(40)
    command = [sys.executable, ROOT / "cli.py", "extract-features", clips, *FAST, "--out", tmp_path / "c"]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(list(map(str, command)), stderr=theirs, stdout=subprocess.DEVNULL, env=environment)
    screen, said = Screen(40), b""
    resized = False
    os.set_blocking(ours, False)
    until = time.monotonic() + 100
    while process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
        said = _read(ours, screen, said)
        if not resized and any("clips" in line for line in screen.text()):
            resized = True
            process.send_signal(signal.SIGSTOP)  # between two paintings: one that is half done has the width of before
            time.sleep(0.05)
            said = _read(ours, screen, said)
            size(30)
            screen.resize(30)
            process.send_signal(signal.SIGCONT)
    _read(ours, screen, said)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 3
    assert resized and screen.width == 30
    everything = "".join("".join(screen.text()).split())
    assert "5/5clips" in everything and "2failed" in everything and "".join(SHOWN.split()) in everything
    assert sum("extract" in line for line in screen.text()) == 1, "\n".join(screen.text())


def _read(handle, screen, rest):
    """Shows what has come on the screen; the bytes of a character or a sequence that is not complete yet."""
    try:
        rest += os.read(handle, 1 << 16)
    except BlockingIOError:
        return rest
    whole = re.sub(rb"(\x1b\[?[?0-9;]*|[\xc0-\xff][\x80-\xbf]{0,2})$", b"", rest)
    try:
        screen.feed(whole.decode())
    except UnicodeDecodeError:
        return rest
    return rest[len(whole) :]


# Standard output


def test_tables_and_sentences_obey_no_name(capsys):
    for columns in (200, 30):
        console = PatientConsole(width=columns)
        table = plain_table(f"run {HOSTILE}", "clip", "a figure", "another figure", names=("clip",))
        table.add_row(HOSTILE, "0.123", "0.456")
        show_table(console, table)
        shown = capsys.readouterr().out
        assert "\x1b" not in shown and "\u202e" not in shown
        if columns == 200:
            assert [SHOWN in line for line in shown.splitlines()] == [True, False, True]  # title, headings, row
        else:
            assert "".join(SHOWN.split()) in "".join(shown.split())
    console.print(f"a :smile: {HOSTILE}", markup=False, soft_wrap=True)
    assert capsys.readouterr().out == f"a :smile: {SHOWN}\n".replace("\\n", "\n")


def test_headings_fold_before_rows_do(capsys):
    shown = {}
    for columns in (80, 40, 20):
        table = plain_table(
            "by emotion", "emotion", "error, without chance", "AUC against all others", names=("emotion",)
        )
        table.add_row("angry", "0.031", "0.937 (0.869)")
        show_table(PatientConsole(width=columns, force_terminal=True, color_system=None), table)
        shown[columns] = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    row = "angry    0.031    0.937 (0.869)"
    assert shown[80][1:] == [
        "emotion  error, without chance  AUC against all others",
        "angry    0.031                  0.937 (0.869)",
    ]
    assert shown[40][1:] == ["         error,", "         without  AUC against", "emotion  chance   all others", row]
    assert shown[20][1:] == [
        "angry",
        "  error, without",
        "chance: 0.031",
        "  AUC against all",
        "others: 0.937",
        "(0.869)",
    ]


def test_what_was_there_already_says_nothing_of_how_fast_work_is():
    first = Progress("extract", 0, 100, "images")
    pace = Pace(first, 0.0)
    for now, event in ((0, first), (1, Progress("extract", 80, 100, "images", reused=80))):
        pace.add(event, now)
    assert pace.rate(event) == 0 and pace.left(event) is None
    later = Progress("extract", 90, 100, "images", reused=80)
    pace.add(later, 11.0)
    assert pace.rate(later) == pytest.approx(10 / 11) and pace.left(later) == pytest.approx(11.0)


def test_what_is_left_of_clips_is_told_by_their_bytes():
    """Nine short ones are done in 9 s, and one of a hundred times their length is left."""
    sizes = {"size_total": 109}
    pace = Pace(Progress("extract", 0, 10, "clips", **sizes), 0.0)
    for done in range(1, 10):
        event = Progress("extract", done, 10, "clips", size=done, **sizes)
        pace.add(event, float(done))
    assert pace.left(event) == pytest.approx(100.0)


def test_what_is_waited_for_is_said_until_there_is_something_to_count():
    drawn = io.StringIO()
    console = PatientConsole(file=drawn, force_terminal=True, width=60)
    with TerminalDisplay(console) as display:
        display.report(Waiting("weights to be read"))
        assert "waits for weights to be read  0:00" in drawn.getvalue()
        before = len(drawn.getvalue())
        display.report(Progress("extract", 1, 2, "images"))
        display._draw()
    assert "waits for" not in drawn.getvalue()[before:].split("extract", 1)[1]


def piped(table):
    stream = io.StringIO()
    show_table(PatientConsole(file=stream, width=40), table)
    return stream.getvalue()


def test_a_table_in_a_pipe_is_a_line_a_row_with_tabs_between_cells():
    table = plain_table("a [title]", "clip", "score", names=("clip",))
    table.add_row(f"{'long' * 30}\t[b]x[/]", "0.5")
    table.add_row("short", "")
    assert piped(table) == f"a [title]\nclip\tscore\n{'long' * 30}\\t[b]x[/]\t0.5\nshort\t\n"
    assert piped(facts_table("cache", [("rows", 3), ("engine", "[xla]")])) == "cache\nrows\t3\nengine\t[xla]\n"


def test_no_line_is_folded_in_a_pipe():
    stream = io.StringIO()
    PatientConsole(file=stream, width=40).print("word " * 30)
    assert stream.getvalue().count("\n") == 1
