"""Transform the frames of a video one by one, with constant memory; resume an interrupted run.

Frames are encoded in segments of `SEGMENT` frames. Each segment is a file in a hidden folder beside the result, and
appears whole or not at all. A run with the same request continues after the segments that exist. At the end, `join`
copies all segments and the audio into the result, and the folder is removed.
"""

import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PictureError
from ..images import Keep
from ..util import atomic_write
from .codecs import CODECS, Encoding
from .frames import Colours, Pixels, is_turned, to_frame, to_pixels, upright_sides
from .join import LEAD, join, require_audio_fits
from .source import DEFAULT_FRAME_RATE, Source, Span, decoded_frames, ffmpeg_errors, frame_count, name_of, open_video

SEGMENT = 120
"""Frames of a segment. An interrupted run loses at most so many."""


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
    keep: Keep = "all",
    metadata: dict[str, str] | None = None,
    at_once: Callable[[int, int], int] = lambda height, width: 1,
    progress: Callable[[VideoProgress], None] = lambda progress: None,
) -> None:
    """Write `source` to `output` with each frame transformed; all audio streams are copied.

    Timestamps (also uneven ones), colour tags, bit depth up to 10, pixel aspect ratio and the metadata of the file are
    kept. Frames that players would rotate are rotated.

    Args:
        source: a file, or its bytes.
        output: appears whole or not at all.
        transform: pictures float32 [n,3,H,W] in [0,1] -> [n,3,H',W'], always of the same size.
        request: what `transform` depends on. A run resumes an interrupted one of the same source, request and encoding.
        start: second of the source at which the result starts.
        duration: seconds of the result; 0: to the end.
        keep: which metadata of the file the result has; see `images.write_picture`.
        metadata: added to that of the file.
        at_once: height and width of the frames -> the largest `n`.
        progress: called after each frame. An exception that it raises cancels the run; finished segments stay.

    Raises:
        RequestError: PyAV is missing, or `output` cannot hold the codec.
        PictureError: the source cannot be read as a video, its audio cannot be copied, or writing fails.
    """
    encoding.require_suffix(output)
    span = Span(start, duration)
    with open_video(source) as video:
        require_audio_fits(video, output)
        folder = output.parent / f".tinysr-{_fingerprint(source, request, encoding, start, duration)}"
        folder.mkdir(parents=True, exist_ok=True)
        with ffmpeg_errors(f"{name_of(source)} cannot be encoded"):
            _encode_segments(video, source, folder, transform, encoding, span, at_once, progress)
        segments = _segments(folder, encoding)
        if not segments:
            raise PictureError(f"{name_of(source)} has no frames in that range; choose another one.")
    with open_video(source) as video, ffmpeg_errors(f"{output} cannot be written"):  # again, for its audio
        join(segments, video, output, span, _kept(video.metadata, keep) | (metadata or {}))
    shutil.rmtree(folder, ignore_errors=True)


def _encode_segments(
    video: Any,
    source: Source,
    folder: Path,
    transform: Callable[[Pixels], Any],
    encoding: Encoding,
    span: Span,
    at_once: Callable[[int, int], int],
    progress: Callable[[VideoProgress], None],
) -> None:
    """Encode the segments that `folder` lacks."""
    present = len(_segments(folder, encoding))
    done = resumed = present * SEGMENT
    total = frame_count(video, span)
    together, began = 0, 0.0
    with closing(decoded_frames(video, source, span)) as decoded:
        frames = itertools.islice(decoded, done, None)  # decoding again is quick; seeking is not exact in every format

        def transformed(segment: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
            nonlocal done
            while group := list(itertools.islice(segment, together)):
                results = transform(np.concatenate([to_pixels(frame, Colours.of(frame)) for frame in group]))
                for i, frame in enumerate(group):
                    yield frame, results[i : i + 1]
                    done += 1
                    progress(VideoProgress(done, total, (done - resumed) / max(time.monotonic() - began, 1e-6)))

        progress(VideoProgress(min(done, total) if total else done, total, 0))
        for number in itertools.count(present):
            first = next(frames, None)
            if first is None:
                return
            together = together or at_once(*upright_sides(first))
            began = began or time.monotonic()  # decoding finished frames again does not count
            segment = itertools.chain([first], itertools.islice(frames, SEGMENT - 1))
            with atomic_write(folder / _segment_name(number, encoding)) as path:
                _encode_segment(path, transformed(segment), video.streams.video[0], encoding)


def _encode_segment(path: Path, frames: Iterator[tuple[Any, Any]], source: Any, encoding: Encoding) -> None:
    """Encode frames: each as it was decoded from the stream `source`, and its transformed pixels."""
    import av
    from av.codec.context import Flags

    codec = CODECS[encoding.codec]
    with av.open(str(path), "w") as file:
        stream: Any = None
        for decoded, pixels in frames:
            colours = Colours.of(decoded)
            if stream is None:
                rate = source.average_rate or DEFAULT_FRAME_RATE
                stream = file.add_stream(codec.encoder, rate=rate, options=encoding.options)
                stream.height, stream.width = pixels.shape[2:]
                context = stream.codec_context
                context.pix_fmt = codec.formats[colours.deep]
                context.time_base = source.time_base
                context.flags |= Flags.global_header
                context.colorspace, context.color_range = colours.matrix, colours.sample_range
                context.color_trc, context.color_primaries = colours.transfer, colours.primaries
                if source.sample_aspect_ratio:
                    aspect = source.sample_aspect_ratio
                    context.sample_aspect_ratio = 1 / aspect if is_turned(decoded) else aspect
            frame = to_frame(pixels, colours, codec.formats[colours.deep])
            frame.pts, frame.time_base = decoded.pts + round(LEAD / source.time_base), source.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def _kept(metadata: dict[str, str], keep: Keep) -> dict[str, str]:
    """The metadata that `keep` allows. QuickTime and MP4 store GPS locations under keys with "location"."""
    if keep == "none":
        return {}
    return {key: value for key, value in metadata.items() if keep == "all" or "location" not in key.lower()}


def _segments(folder: Path, encoding: Encoding) -> list[Path]:
    """The finished segments in order, up to the first that is missing."""
    paths = (folder / _segment_name(number, encoding) for number in itertools.count())
    return list(itertools.takewhile(Path.exists, paths))


def _segment_name(number: int, encoding: Encoding) -> str:
    return f"{number:06}{CODECS[encoding.codec].segment}"


def _fingerprint(source: Source, *request: Any) -> str:
    if isinstance(source, Path):
        state = source.stat()
        identity = f"{source.resolve()} {state.st_size} {state.st_mtime_ns}"
    else:
        identity = hashlib.sha256(source.getbuffer()).hexdigest()
    return hashlib.sha256(repr((identity, *request)).encode()).hexdigest()[:16]
