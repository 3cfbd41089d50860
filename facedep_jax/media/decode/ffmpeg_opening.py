"""Whether FFmpeg opens a file and which of its tracks is the one to show; if not, why not. Decodes nothing."""

import re
from typing import BinaryIO, NoReturn

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.opencv_setup import CONTAINERS, MAX_PIXELS
from facedep_jax.media.decode.video_containers import why_not

_BUFFER = 1 << 18
_NOT_LISTED = re.compile(r"\[([^\]]+)\] Format not on whitelist")


def opened(file: BinaryIO) -> InputContainer:
    """The container of a file, which FFmpeg may read and no other. Raises MediaError for what it cannot open."""
    options = {"protocol_whitelist": "none", "format_whitelist": CONTAINERS}
    try:
        return av.open(
            file, "r", options=options, io_open=_refuse_other_files, metadata_errors="replace", buffer_size=_BUFFER
        )
    except (FFmpegError, ValueError, UnicodeError) as error:
        raise MediaError(_refusal(decoder_stderr.text(), file)) from error


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a clip may name no other file")


def video_track(container: InputContainer, file: BinaryIO) -> tuple[VideoStream, tuple[str, ...]]:
    """The track that players show, and a note where it had to be chosen. Raises MediaError where there is none."""
    covers = [stream for stream in container.streams.video if stream.disposition & Disposition.attached_pic]
    tracks = [stream for stream in container.streams.video if stream not in covers]
    if not tracks:
        sound = "it holds sound with a cover picture and no video" if covers else why_not(file)
        raise MediaError(f"not a video that FFmpeg can open ({sound or 'it holds no video'})")
    marked = [stream for stream in tracks if stream.disposition & Disposition.default]
    track = marked[0] if marked else tracks[0]
    context = track.codec_context
    if context is None:
        raise MediaError(f"not a video that FFmpeg can open ({why_not(file) or 'its codec is not known'})")
    if context.width * context.height > MAX_PIXELS:
        raise MediaError(
            f"declares frames of {context.width}×{context.height} pixels; {MAX_PIXELS / 1e6:.0f} megapixels is most"
        )
    if len(tracks) == 1:
        return track, ()
    why = "the first" if not marked else "marked as the default" if len(marked) == 1 else "the first marked as default"
    return track, (f"video tracks in the file: {len(tracks)}; read was number {tracks.index(track) + 1}, {why}",)


def _refusal(said: str, file: BinaryIO) -> str:
    """Why FFmpeg did not open the file, from what it said and what is in it."""
    if "m3u8" in said or "hls" in said:
        return "not a video but a playlist"
    taken_for = _NOT_LISTED.search(said)
    if taken_for:
        return f"not a video container that is read here (FFmpeg takes it for {taken_for[1]})"
    reason = why_not(file) or decoder_stderr.first_line(said)
    return "not a video that FFmpeg can open" + (f" ({reason})" if reason else "")
