"""Open a video with PyAV, and read its facts and frames."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import PictureError, RequestError, installs
from .frames import upright_sides

DEFAULT_FRAME_RATE = 25
"""Frames per second where the file does not tell."""
MICROSECOND = Fraction(1, 1_000_000)
"""FFmpeg's unit for the start and the duration of a file, in seconds."""

Source = Path | BytesIO
"""A video file, or its bytes."""


@dataclass(frozen=True)
class Span:
    """A part of a video, in seconds."""

    start: float = 0
    duration: float = 0
    """0: to the end."""


WHOLE = Span()


@dataclass(frozen=True)
class VideoInfo:
    """Size and length of a video."""

    width: int
    """In pixels, as players show the video: rotated where the file says so."""
    height: int
    frames: int
    """As far as the header tells; 0: unknown."""


def read_video_info(source: Source) -> VideoInfo:
    """The size and length of a video. Decodes the first frame: only frames know their rotation.

    Raises:
        RequestError: PyAV is missing.
        PictureError: the source cannot be read as a video.
    """
    with open_video(source) as video:
        frame = _first_frame(video, source)
        height, width = upright_sides(frame)
        return VideoInfo(width, height, frame_count(video, WHOLE))


def _first_frame(video: Any, source: Source) -> Any:
    with read_errors(source), closing(video.decode(video=0)) as frames:
        frame = next(frames, None)
    if frame is None:
        raise PictureError(f"{name_of(source)} has no frames; choose another video.")
    return frame


@contextmanager
def open_video(source: Source) -> Generator[Any]:
    """Yield the open `av.container.InputContainer` of a video.

    Raises:
        RequestError: PyAV is missing.
        PictureError: the source cannot be read as a video.
    """
    try:
        import av
    except ImportError as error:
        raise RequestError(f"Videos need PyAV; {installs('video')} adds it.") from error
    if isinstance(source, BytesIO):
        source.seek(0)
    with read_errors(source):
        video = av.open(str(source) if isinstance(source, Path) else source)
    with video:
        if not video.streams.video:
            raise PictureError(f"{name_of(source)} has no video stream; choose a video.")
        yield video


def decoded_frames(video: Any, source: Source, span: Span) -> Generator[Any]:
    """The frames of `span`, in order; their timestamps count from its start.

    Raises:
        PictureError: the video is damaged.
    """
    stream = video.streams.video[0]
    stream.thread_type = "AUTO"
    begin = round(start_of(video, span) / stream.time_base)
    end = begin + span.duration / stream.time_base if span.duration else float("inf")
    step = Fraction(1) / ((stream.average_rate or DEFAULT_FRAME_RATE) * stream.time_base)
    expected = Fraction(begin)
    with read_errors(source):
        for frame in video.decode(stream):
            pts = round(expected) if frame.pts is None else frame.pts
            expected = pts + step
            if pts >= end:
                return
            if pts >= begin:
                frame.pts = pts - begin
                yield frame


def start_of(video: Any, span: Span) -> Fraction:
    """The start of `span` on the clock of the file, in seconds: its first frame may be later than 0."""
    return max(video.start_time or 0, 0) * MICROSECOND + Fraction(span.start).limit_denominator(1_000_000)


def frame_count(video: Any, span: Span) -> int:
    """The number of frames of `span` as far as the header tells; 0: unknown."""
    stream = video.streams.video[0]
    if stream.frames and span == WHOLE:
        return stream.frames
    seconds = float((video.duration or 0) * MICROSECOND) - span.start
    return max(0, round(min(seconds, span.duration or seconds) * float(stream.average_rate or 0)))


def name_of(source: Source) -> str:
    """What messages call a video."""
    return str(source) if isinstance(source, Path) else "The video"


def read_errors(source: Source) -> Any:
    """A context that turns FFmpeg's errors into PictureError: the source cannot be read."""
    return ffmpeg_errors(f"{name_of(source)} cannot be read as a video")


@contextmanager
def ffmpeg_errors(problem: str) -> Generator[None]:
    """Turn FFmpeg's errors into PictureError; the message is `problem` with FFmpeg's reason."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise PictureError(f"{problem} ({error.strerror or error}).") from error
