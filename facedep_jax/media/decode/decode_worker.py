"""The decoding worker, `python -m facedep_jax.media.decode.decode_worker`. Knows nothing of the batch.

It reads requests on standard input and answers on standard output (worker_protocol.py), one after the other. Files and
bytes may be hostile or simply broken: whatever they do to a decoder, they do here. Standard error is a file that
decoder_stderr.py reads back.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from facedep_jax.errors import EngineError, MediaError, NotADetector
from facedep_jax.machine_resources import end_with_parent
from facedep_jax.media.decode import image_decoding as images
from facedep_jax.media.decode.face_detectors import face_finder
from facedep_jax.media.decode.face_selection import AtOnce, chooser, framed, pick
from facedep_jax.media.decode.light_meter import LightMeter
from facedep_jax.media.decode.live_capture import Camera, Paced, Reader
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.decode.video_decoding import Capture
from facedep_jax.media.file_hashing import ITEM_BYTES, read_content
from facedep_jax.media.frame_types import Frame, InputSettings
from facedep_jax.media.worker_protocol import (
    Header,
    Message,
    encoded,
    frame_bodies,
    frame_header,
    pack,
    unpack,
    write_whole,
)

# A sign of life at least this often while frames are read that nobody wants.
_SIGN_OF_LIFE = 1.0
# Seconds after which a request of several files is answered with those that are read: who waits may want to stop.
_ANSWER_S = 0.25


class Channel:
    """Requests in, answers out. Takes standard output for itself: a library that prints breaks no message."""

    def __init__(self, progress: int) -> None:
        self._progress = progress  # descriptor of a file that the library reads once this process is gone
        self._in, self._out = os.fdopen(os.dup(0), "rb"), os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        self._last = time.monotonic()
        self.come_to(0)  # it has started

    def request(self) -> Message:
        """The next request. Raises EOFError when the library has closed its end."""
        return unpack(self._exactly)

    def say(self, header: Header, *bodies: memoryview) -> None:
        """Sends one message."""
        write_whole(self._out, [pack(encoded(header), sum(map(len, bodies))), *bodies])
        self._last = time.monotonic()

    def come_to(self, place: int, item: str = "") -> None:
        """Notes which file of a request is read now, and its item once it is known, for whoever finds this process
        ended by it."""
        os.pwrite(self._progress, place.to_bytes(4, "little") + item.encode().ljust(ITEM_BYTES), 0)
        self.alive()

    def alive(self) -> None:
        """Sends a sign of life when the last message is old."""
        if time.monotonic() - self._last > _SIGN_OF_LIFE:
            self.say({"say": "alive"})

    def _exactly(self, count: int) -> bytearray:
        data = bytearray(self._in.read(count))
        if len(data) != count:
            raise EOFError
        return data


def serve(channel: Channel) -> None:
    """Answers requests until the library closes its end."""
    answers: dict[str, Callable[..., None]] = {
        "image": _image, "images": _images, "view": _view, "clip": _clip, "camera": _camera, "paced": _paced,
        "detector": _detector,
    }  # fmt: skip
    while True:
        try:
            header, body = channel.request()
        except EOFError:
            return
        settings = InputSettings(**{**header["settings"], "sizes": tuple(header["settings"]["sizes"])})
        further = {name: header[name] for name in ("threads", "decode") if name in header}
        try:
            answers[header["do"]](channel, settings, bytes(body), **further)
        except _OF_A_FILE as error:
            channel.say({"say": "failed", **_why(error)})
        except NotADetector as error:
            channel.say({"say": "no detector", "path": error.path, "found": error.found})
        except EngineError as error:
            channel.say({"say": "no engine", "reason": str(error)})


_OF_A_FILE = (MediaError, OSError, MemoryError)


def _why(error: Exception) -> Header:
    """What is wrong with a file by what was raised, one of _OF_A_FILE."""
    if isinstance(error, MediaError):
        return {"reason": error.reason, "stage": error.stage}
    if isinstance(error, OSError):  # the file went away, or cannot be read, since it was looked at
        return {"reason": f"cannot be read: {error.strerror}", "stage": "read"}
    return {"reason": "needs more memory than there is", "stage": "decode"}


def _image(channel: Channel, settings: InputSettings, data: bytes) -> None:
    header, bodies = _picture(settings, data)
    channel.say({"say": "picture", **header}, *bodies)


def _images(channel: Channel, settings: InputSettings, names: bytes, decode: int) -> None:
    """Several files in one answer, each by itself: what is wrong with one is said in its place. The first of them where
    all would take long.
    """
    read, all_bodies, begun = list[Header](), list[memoryview](), time.monotonic()
    for place, name in enumerate(json.loads(names)):
        if place and time.monotonic() - begun > _ANSWER_S:
            break
        channel.come_to(place)
        said: Header = {}
        try:
            content = read_content(name)
            said |= {"item": content.item, "state": content.state}
            if decode:
                channel.come_to(place, content.item)
                header, bodies = _picture(settings, content.data)
                said |= {"picture": header}
                all_bodies += bodies
        except _OF_A_FILE as error:
            said |= _why(error)
        read.append(said)
    channel.say({"say": "images", "read": read}, *all_bodies)


def _picture(settings: InputSettings, data: bytes) -> tuple[Header, list[memoryview]]:
    decoded = images.decode(data, max(settings.sizes) if settings.faces == "none" else None)
    pixels = decoded.pixels
    found = face_finder(settings.faces, settings.detector).find(pixels)
    known = {
        "width": decoded.width,
        "height": decoded.height,
        "phash": f"{images.difference_hash(pixels):016x}",
        "notes": decoded.notes,
    }
    frame = framed(0.0, pixels, found, pick(found, pixels.shape, settings), settings)
    return known | frame_header(frame), frame_bodies(frame)


def _view(channel: Channel, settings: InputSettings, data: bytes) -> None:
    pixels = images.shrunk(images.decode(data).pixels, max(settings.sizes))
    channel.say({"say": "view", "height": pixels.shape[0], "width": pixels.shape[1]}, pixels.data.cast("B"))


def _clip(channel: Channel, settings: InputSettings, path: bytes, threads: int) -> None:
    finder = face_finder(settings.faces, settings.detector)
    capture = Capture(path, settings.fps, channel.alive, threads=threads)
    choice, light = chooser(settings), LightMeter()

    def say(frames: Iterator[Frame]) -> None:
        for frame in frames:
            light.see_face(frame)
            _say_frame(channel, {"say": "frame"}, frame)

    for moment, pixels in capture.samples():
        light.see(pixels)
        say(choice.add(moment, pixels, finder.find(pixels)))
    say(choice.rest())
    info = capture.info()
    channel.say({"say": "end", "info": asdict(replace(info, notes=info.notes + choice.notes(), light=light.said))})


def _camera(channel: Channel, settings: InputSettings, where: bytes) -> None:
    _live(channel, settings, Camera(int(where) if where.isdigit() else where, settings.fps))


def _paced(channel: Channel, settings: InputSettings, path: bytes) -> None:
    _live(channel, settings, Paced(path, settings.fps))


def _live(channel: Channel, settings: InputSettings, source: Camera | Paced) -> None:
    finder, choice = face_finder(settings.faces, settings.detector), AtOnce(settings)
    lost = {}
    with Reader(source) as reader:
        try:
            while not reader.over:
                taken = reader.take(_SIGN_OF_LIFE)
                channel.alive()
                if taken:
                    number, sample = taken
                    frame = choice.frame(sample.time, sample.pixels, finder.find(sample.pixels))
                    known = {"number": number, "due": sample.due, "notes": source.notes + choice.notes()}
                    _say_frame(channel, {"say": "frame", **known}, frame)
        except MediaError as error:  # an end like any other, but for its reason: the notes are told with it
            lost = {"lost": error.reason, "stage": error.stage}
        channel.say({"say": "end", "notes": source.notes + choice.notes(), **lost})


def _detector(channel: Channel, settings: InputSettings, _: bytes) -> None:
    face_finder(settings.faces, settings.detector)
    channel.say({"say": "detector"})


def _say_frame(channel: Channel, header: Header, frame: Frame) -> None:
    channel.say(header | frame_header(frame), *frame_bodies(frame))


if __name__ == "__main__":
    cv2.setNumThreads(1)  # workers run side by side; OpenCV's own threads would wait for each other by spinning
    # Ctrl-C is the library's to answer; a hung decoder must not outlive it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    serve(Channel(int(sys.argv[1])))
