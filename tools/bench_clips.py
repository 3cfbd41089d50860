"""How fast clips become features, and how much memory that takes however long they are.

    python tools/bench_clips.py speed CLIP [--detector-model FILE] [--seconds 240]
    python tools/bench_clips.py memory CLIP [--hours 3] [--fps 4]
    python tools/bench_clips.py at-once CLIP CLIP... [--seconds 60] [--rounds 3]

`speed`: decoding, finding faces at 320 pixels and the mid taps of both networks in bfloat16, at 4 frames a second, of
CLIP looped and made 640×360 at 30 frames a second. What starting costs is left out: of two lengths, the difference
counts. `memory`: the peak of all processes together for a minute and for hours of CLIP, looped as it is. `at-once`:
decoding and finding faces alone, with an engine that costs nothing, one clip after the other and as many at once as an
extraction reads here, in turns; CLIPs are made as for `speed`. All make their clips with PyAV, use random weights, and
print one line of JSON. A clip that shows a face throughout is best.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from facedep_jax.extraction import extract as stage_one
from facedep_jax.extraction import local_extraction
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.machine_resources import cores, decoders
from facedep_jax.media.worker_pool import stop_idle
from facedep_jax.sources import read_source

RATE, SIZE = 30, (640, 360)
MID = "mobilenet_v2:mid@3,resnet50:mid@3"


def scaled(clip: Path, out: Path, most: float = 20.0) -> Path:
    """The first seconds of `clip` at RATE and SIZE, as H.264 with a keyframe every two seconds."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream("libx264", rate=RATE, options={"g": str(2 * RATE), "crf": "23"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number >= most * RATE:
                break
            small = frame.reformat(*SIZE, format="yuv420p")
            small.pts, small.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(small))
        target.mux(stream.encode(None))
    return out


def looped(clip: Path, out: Path, seconds: float) -> Path:
    """`clip` again and again until `seconds` are full, packets copied as they are."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        step = max(packet.duration or 1 for packet in packets)
        length = max(p.pts for p in packets) - min(p.pts for p in packets) + step
        first = min(p.dts for p in packets)
        times = [(p.pts - first, p.dts - first) for p in packets]
        for turn in range(max(1, round(seconds / float(length * stream.time_base)))):
            for packet, (shown, decoded) in zip(packets, times, strict=True):
                packet.time_base = stream.time_base  # muxing puts it, and the times, into the copy's own units
                packet.pts, packet.dts = shown + turn * length, decoded + turn * length
                packet.stream = copy
                target.mux(packet)
    return out


def timed(folder: Path, clip: Path, settings: ExtractSettings) -> float:
    """Seconds that an extraction of one clip takes."""
    begun = time.monotonic()
    summary = extract([read_source(str(clip))], folder / f"cache-{clip.stem}", settings)
    if summary["items_failed"]:
        raise SystemExit(f"{clip}: {summary['failures'][0]['reason']}")
    return time.monotonic() - begun


def speed(options: argparse.Namespace, folder: Path) -> dict[str, float | int]:
    settings = ExtractSettings(
        weights="random:1", taps=MID, size=options.size, precision="bfloat16", engine=options.engine,
        faces="yunet" if options.detector_model else "haar", detector_model=options.detector_model,
    )  # fmt: skip
    small = scaled(Path(options.clips[0]), folder / "small.mp4")
    spent = {}
    for name, seconds in (("warm", 8), ("short", options.seconds / 4), ("long", options.seconds)):
        spent[name] = timed(folder, looped(small, folder / f"{name}.mp4", seconds), settings)
    rate = options.seconds * 3 / 4 / (spent["long"] - spent["short"])
    return {"times_real_time": round(rate, 2), "cores": cores(), "seconds_spent": round(sum(spent.values()), 1)}


class FreeEngine:
    """See `engine_interface.Engine`: features of ones, at no cost."""

    name, version, device, precision, reason = "none", "0", "cpu", "float32", "to see what decoding takes"
    batch_size, in_flight = 32, 1

    def __init__(self, plan: ExtractionPlan):
        self._taps = plan.taps

    def __call__(self, crops: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(crops.values())))
        return {str(tap): np.ones((count, tap.cells, tap.cells, tap.channels), np.float16) for tap in self._taps}


def at_once(options: argparse.Namespace, folder: Path) -> dict[str, float | int]:
    settings = ExtractSettings(
        weights="random:1", taps=MID, size="mobilenet_v2=224,resnet50=96",
        faces="yunet" if options.detector_model else "haar", detector_model=options.detector_model,
    )  # fmt: skip
    clips = folder / "clips"
    clips.mkdir()
    for number, clip in enumerate(options.clips):
        looped(scaled(Path(clip), folder / "small.mp4"), clips / f"{number}.mp4", options.seconds)
    stage_one.load_checked_engine = lambda plan, *_: FreeEngine(plan)  # type: ignore[assignment,misc]
    usual, spent, rows, processor = decoders(), {}, 0, []
    for turn in range(options.rounds + 1):  # the first only warms up
        for count in (1, usual):
            local_extraction.decoders = lambda count=count: count  # type: ignore[misc]
            stop_idle()
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            summary = stage_one.extract([read_source(str(clips))], folder / f"cache-{turn}-{count}", settings)
            if summary["items_failed"] or summary["items_new"] != len(options.clips):
                raise SystemExit(f"not every clip was read, or two are the same: {summary['failures']}")
            if turn:
                spent.setdefault(count, []).append(time.monotonic() - begun)
                stop_idle()
                after, rows = resource.getrusage(resource.RUSAGE_CHILDREN), summary["rows"]
                processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "clips": len(options.clips),
        "rows": rows,
        "at_once": usual,
        "cores": cores(),
        "rows_per_second": round(rows / statistics.median(spent[usual]), 1),
        "times_one_at_once": round(statistics.median(a / b for a, b in zip(*spent.values(), strict=True)), 2),
        "processor_ms_a_row": round(1000 * statistics.median(processor) / rows, 2),
    }


def resident_mb(root: int) -> float:
    """Of a process and all below it, now."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    family, total = {root}, 0
    for pid, parent, kilobytes in sorted(rows):
        if pid in family or parent in family:
            family.add(pid)
            total += kilobytes
    return total / 1024


def peaks(process: subprocess.Popen) -> Iterator[float]:
    while process.poll() is None:
        yield resident_mb(process.pid)
        time.sleep(0.25)


def memory(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, seconds in (("minute", 60), ("hours", 3600 * options.hours)):
        source = Path(options.clips[0])
        clip = looped(source, folder / f"{name}{source.suffix}", seconds)
        command = [sys.executable, "-m", "facedep_jax", "extract-features", str(clip), "--out", str(folder / name)]
        command += ["--weights", "random:1", "--taps", "mobilenet_v2:mid@1", "--size", "32", "--fps", str(options.fps)]
        command += ["--detector-model", options.detector_model] if options.detector_model else ["--faces", "haar"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        said, begun = folder / f"{name}.json", time.monotonic()
        with said.open("wb") as out:
            process = subprocess.Popen([*command, "--json"], stdout=out, stderr=subprocess.DEVNULL, env=environment)
            found[f"{name}_peak_mb"] = round(max(peaks(process)), 1)
        summary = json.loads(said.read_bytes())
        found |= {f"{name}_rows": summary["rows"], f"{name}_seconds": round(time.monotonic() - begun, 1)}
    return found | {"grown_mb": round(found["hours_peak_mb"] - found["minute_peak_mb"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "at-once"])
    parser.add_argument("clips", nargs="+", metavar="CLIP")
    parser.add_argument("--detector-model", help="YuNet's file; the Haar cascade without it")
    parser.add_argument("--seconds", type=float, help="240 for `speed`, 60 for `at-once`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="224")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--fps", type=float, default=4.0)
    options = parser.parse_args()
    if options.what != "at-once" and len(options.clips) > 1:
        parser.error(f"{options.what} takes one CLIP")
    options.seconds = options.seconds or (60.0 if options.what == "at-once" else 240.0)
    with tempfile.TemporaryDirectory(prefix="bench-clips-") as place:
        found = {"speed": speed, "memory": memory, "at-once": at_once}[options.what](options, Path(place))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
