"""A video through a function of frames, with constant memory, and resumed where it was broken off.

Frames are encoded in segments of `SEGMENT` frames. Each is a file in a hidden folder beside the result that appears
whole or not at all; a run that finds segments of the same request goes on behind them. At the end, the packets of all
segments and those of the audio are copied into the result, and the folder is removed.
"""

import hashlib
import heapq
import itertools
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PictureError, RequestError, installs
from ..util import atomic_write
from .codecs import CODECS, Encoding
from .frames import Colours, Pixels, to_frame, to_pixels

SEGMENT = 120
"""Frames of a segment: what a broken run may lose."""

LEAD = 60
"""Seconds by which frames are later within segments: decoding times before 0 would shift a file's timestamps."""
Source = Path | BytesIO
Packets = Iterator[tuple[float, int, Any]]
"""Packets with the second they belong to; the number keeps streams in order where seconds are equal."""


@dataclass(frozen=True)
class VideoProgress:
    """How far a video is."""

    done: int
    """Frames done."""
    total: int
    """Frames of the video as far as its header tells; 0: unknown."""
    frames_per_second: float
    """Speed of this run; 0 at its start."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end; None: unknown."""
        if not (self.total and self.frames_per_second):
            return None
        return max(0, self.total - self.done) / self.frames_per_second


def transcode(
    source: Source,
    output: Path,
    transform: Callable[[Pixels], Any],
    encoding: Encoding,
    *,
    request: str,
    start: float = 0,
    duration: float = 0,
    metadata: dict[str, str] | None = None,
    at_once: Callable[[int, int], int] = lambda height, width: 1,
    progress: Callable[[VideoProgress], None] = lambda progress: None,
) -> None:
    """Write `source` to `output`, each frame as `transform` makes it; all audio streams are copied.

    Timestamps, also uneven ones, colour tags, bit depth up to 10, the shape of pixels and the metadata of the file
    stay. Frames that a player would turn are turned.

    Args:
        source: a file, or its bytes.
        transform: pictures float32 [n,3,H,W] in [0,1] -> [n,3,H',W'], always of the same size.
        request: what `transform` depends on. A run goes on with the segments of an earlier one of the same source,
            request and encoding.
        start: second of the source that the result begins with.
        duration: seconds of the result; 0: to the end.
        metadata: to be added to that of the file.
        at_once: how many frames of a height and width `transform` takes at most; one unless it is told.
        progress: called after each frame. An exception that it raises cancels the run; finished segments stay.

    Raises:
        RequestError: PyAV is missing, or the file cannot hold the codec.
        PictureError: the source is no video that can be read, its audio cannot be copied, or writing fails.
    """
    encoding.require_suffix(output)
    with _opened(source) as video:
        parts = output.parent / f".tinysr-{_fingerprint(source, request, encoding, start, duration)}"
        parts.mkdir(parents=True, exist_ok=True)
        _refuse_audio_that_does_not_fit(video, output)
        _encode_segments(video, parts, transform, encoding, (start, duration), at_once, progress)
        segments = _segments(parts, encoding)
        if not segments:
            raise PictureError(f"{_name(source)} has no frames in that range; choose another one.")
    with _opened(source) as video, _av_errors(f"{output} cannot be written"):  # again, for its audio
        _join(segments, video, output, (start, duration), metadata or {})
    shutil.rmtree(parts, ignore_errors=True)


def _encode_segments(
    video: Any,
    parts: Path,
    transform: Callable[[Pixels], Any],
    encoding: Encoding,
    span: tuple[float, float],
    at_once: Callable[[int, int], int],
    progress: Callable[[VideoProgress], None],
) -> None:
    stream = video.streams.video[0]
    stream.thread_type = "AUTO"
    present = len(_segments(parts, encoding))
    done = resumed = present * SEGMENT
    suffix = CODECS[encoding.codec].segment
    total = _total_frames(stream, video, span)
    sides = (stream.width, stream.height) if _turned(stream) else (stream.height, stream.width)
    together = at_once(*sides)
    began = time.monotonic()
    with closing(_decoded(video, stream, span)) as decoded:
        frames = itertools.islice(decoded, done, None)  # decoding again is quick, and exact

        def finished(first: Any) -> Iterator[tuple[int, Pixels, Colours]]:
            nonlocal done
            segment = itertools.chain([first], itertools.islice(frames, SEGMENT - 1))
            while group := list(itertools.islice(segment, together)):
                colours = [Colours.of(frame) for frame in group]
                results = transform(np.concatenate(list(map(to_pixels, group, colours))))
                for i, frame in enumerate(group):
                    yield frame.pts, results[i : i + 1], colours[i]
                    done += 1
                    progress(VideoProgress(done, total, (done - resumed) / max(time.monotonic() - began, 1e-6)))

        progress(VideoProgress(min(done, total) if total else done, total, 0))
        for number in itertools.count(present):
            first = next(frames, None)
            if first is None:
                return
            with _av_errors("The video cannot be encoded"), atomic_write(parts / f"{number:06}{suffix}") as path:
                _encode_segment(path, finished(first), stream, encoding)


def _encode_segment(path: Path, frames: Iterator[tuple[int, Any, Colours]], source: Any, encoding: Encoding) -> None:
    import av
    from av.codec.context import Flags

    codec = CODECS[encoding.codec]
    with av.open(str(path), "w") as file:
        stream: Any = None
        for pts, pixels, colours in frames:
            if stream is None:
                stream = file.add_stream(codec.encoder, rate=source.average_rate or 25, options=encoding.options)
                stream.height, stream.width = pixels.shape[2:]
                context = stream.codec_context
                context.pix_fmt = codec.formats[colours.deep]
                context.time_base = source.time_base
                context.flags |= Flags.global_header
                context.colorspace, context.color_range = colours.matrix, colours.full_range
                context.color_trc, context.color_primaries = colours.transfer, colours.primaries
                if source.sample_aspect_ratio and not _turned(source):
                    context.sample_aspect_ratio = source.sample_aspect_ratio
            frame = to_frame(pixels, colours, codec.formats[colours.deep])
            frame.pts, frame.time_base = pts + round(LEAD / source.time_base), source.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def _decoded(video: Any, stream: Any, span: tuple[float, float]) -> Generator[Any]:
    """The frames within the span, in order, with timestamps that begin with it."""
    offset = round(_offset(video, span) / stream.time_base)
    last = offset + span[1] / stream.time_base if span[1] else float("inf")
    step = Fraction(1) / ((stream.average_rate or 25) * stream.time_base)
    expected = Fraction(offset)
    with _av_errors(f"{_name_of(video)} is damaged"):
        for frame in video.decode(stream):
            pts = round(expected) if frame.pts is None else frame.pts
            expected = pts + step
            if pts >= last:
                return
            if pts >= offset:
                frame.pts = pts - offset
                yield frame


def _join(segments: list[Path], source: Any, output: Path, span: tuple[float, float], metadata: dict[str, str]) -> None:
    import av

    options = {} if output.suffix.lower() == ".mkv" else {"movflags": "use_metadata_tags+faststart"}
    with atomic_write(output) as path, av.open(str(path), "w", options=options) as file:
        file.metadata.update({**source.metadata, **metadata})
        with av.open(str(segments[0])) as first:
            stream = file.add_stream_from_template(first.streams.video[0])
            if first.streams.video[0].codec_context.name == "hevc" and output.suffix.lower() != ".mkv":
                stream.codec_context.codec_tag = "hvc1"  # QuickTime plays no other
            sources = [_video_packets(segments, stream)]
            if source.streams.audio:
                copies = {audio.index: file.add_stream_from_template(audio) for audio in source.streams.audio}
                sources.append(_audio_packets(source, copies, span))
            for _, _, packet in heapq.merge(*sources, key=lambda entry: entry[:2]):
                file.mux(packet)


def _video_packets(segments: list[Path], stream: Any) -> Packets:
    """The packets of all segments. Their files do not hold decoding times: they follow from the order of packets."""
    last = -(2**62)
    for segment in segments:
        shown = [packet.pts for packet in _packets(segment)]
        in_order = sorted(shown)
        delay = max(early - pts for early, pts in zip(in_order, shown, strict=True))
        for packet, pts in zip(_packets(segment), in_order, strict=True):
            lead = round(LEAD / packet.time_base)
            packet.pts -= lead
            last = packet.dts = max(pts - delay - lead, last + 1)
            packet.stream = stream
            yield float(packet.dts * packet.time_base), 0, packet


def _packets(segment: Path) -> Iterator[Any]:
    import av

    with av.open(str(segment)) as file:
        yield from (packet for packet in file.demux(video=0) if packet.pts is not None)


def _audio_packets(video: Any, copies: dict[int, Any], span: tuple[float, float]) -> Packets:
    offset = _offset(video, span)
    for packet in video.demux(*video.streams.audio):
        if packet.dts is None:
            continue
        shift = round(offset / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        seconds = float(packet.pts * packet.time_base)
        if (span[0] and seconds < 0) or (span[1] and seconds >= span[1]):
            continue
        packet.stream = copies[packet.stream.index]
        yield seconds, 1, packet


def _refuse_audio_that_does_not_fit(video: Any, output: Path) -> None:
    """Before any work: a header is written into memory.

    Raises:
        PictureError: the file cannot hold the audio of the video.
    """
    import av
    from av.error import FFmpegError

    if not video.streams.audio:
        return
    name = "matroska" if output.suffix.lower() == ".mkv" else output.suffix.lower()[1:]
    try:
        with av.open(BytesIO(), "w", format=name) as trial:
            for audio in video.streams.audio:
                trial.add_stream_from_template(audio)
            trial.start_encoding()
    except (FFmpegError, ValueError) as error:
        kinds = ", ".join(audio.codec_context.name for audio in video.streams.audio)
        raise PictureError(f"A {output.suffix} file cannot hold this audio ({kinds}); write an .mkv file.") from error


def _offset(video: Any, span: tuple[float, float]) -> Fraction:
    """Second of the source that is second 0 of the result."""
    begin = Fraction(max(video.start_time or 0, 0), 1_000_000)
    return begin + Fraction(span[0]).limit_denominator(1_000_000)


def _total_frames(stream: Any, video: Any, span: tuple[float, float]) -> int:
    if stream.frames and not any(span):
        return stream.frames
    seconds = float(video.duration or 0) / 1_000_000 - span[0]
    return max(0, round(min(seconds, span[1] or seconds) * float(stream.average_rate or 0)))


def _turned(stream: Any) -> bool:
    """Whether width and height change places."""
    return bool(getattr(stream, "rotation", 0) % 180)


def _segments(parts: Path, encoding: Encoding) -> list[Path]:
    """The finished segments in order; those behind a gap do not count."""
    paths = (parts / f"{number:06}{CODECS[encoding.codec].segment}" for number in itertools.count())
    return list(itertools.takewhile(Path.exists, paths))


def _fingerprint(source: Source, *request: Any) -> str:
    if isinstance(source, Path):
        state = source.stat()
        identity = f"{source.resolve()} {state.st_size} {state.st_mtime_ns}"
    else:
        identity = hashlib.sha256(source.getbuffer()).hexdigest()
    return hashlib.sha256(repr((identity, *request)).encode()).hexdigest()[:16]


@contextmanager
def _opened(source: Source) -> Generator[Any]:
    try:
        import av
    except ImportError as error:
        raise RequestError(f"Videos need PyAV; {installs('video')} adds it.") from error
    if isinstance(source, BytesIO):
        source.seek(0)
    with _av_errors(f"{_name(source)} is no video that can be read"):
        video = av.open(str(source) if isinstance(source, Path) else source)
    with video:
        if not video.streams.video:
            raise PictureError(f"{_name(source)} has no video stream; choose a video.")
        yield video


@contextmanager
def _av_errors(trouble: str) -> Generator[None]:
    """FFmpeg's errors as sentences."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise PictureError(f"{trouble} ({error.strerror or error}).") from error


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "The video"


def _name_of(video: Any) -> str:
    return video.name or "The video"
