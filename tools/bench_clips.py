"""How fast clips become features, and how much memory that takes however long they are.

    python tools/bench_clips.py speed CLIP [--detector-model FILE] [--seconds 240]
    python tools/bench_clips.py memory CLIP [--hours 3] [--fps 4]

`speed`: decoding, finding faces at 320 pixels and the mid taps of both networks in bfloat16, at 4 frames a second, of
CLIP looped and made 640×360 at 30 frames a second. What starting costs is left out: of two lengths, the difference
counts. `memory`: the peak of all processes together for a minute and for hours of CLIP, looped as it is. Both make
their clips with PyAV, use random weights, and print one line of JSON. A clip that shows a face throughout is best.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.machine_resources import cores
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
    small = scaled(Path(options.clip), folder / "small.mp4")
    spent = {}
    for name, seconds in (("warm", 8), ("short", options.seconds / 4), ("long", options.seconds)):
        spent[name] = timed(folder, looped(small, folder / f"{name}.mp4", seconds), settings)
    rate = options.seconds * 3 / 4 / (spent["long"] - spent["short"])
    return {"times_real_time": round(rate, 2), "cores": cores(), "seconds_spent": round(sum(spent.values()), 1)}


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
        clip = looped(Path(options.clip), folder / f"{name}{Path(options.clip).suffix}", seconds)
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
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("clip")
    parser.add_argument("--detector-model", help="YuNet's file; the Haar cascade without it")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--size", default="224")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--fps", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-clips-") as place:
        found = {"speed": speed, "memory": memory}[options.what](options, Path(place))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
