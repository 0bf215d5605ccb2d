"""Upscale a video with a network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engines import Upscaler
from ..images import Clean, Keep
from ..pipeline import UNCHANGED, enhance
from ..postprocess import Factor, Finish
from .codecs import CODECS, Encoding
from .frames import Pixels
from .source import Source
from .streaming import VideoProgress, transcode

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".wmv", ".flv")
"""Files with these suffixes are treated as videos. FFmpeg reads more formats."""

DEFAULT_ENCODING = Encoding()


def upscale_video(
    source: Source,
    output: Path,
    upscaler: Upscaler,
    finish: Finish = UNCHANGED,
    encoding: Encoding = DEFAULT_ENCODING,
    *,
    model: str,
    keep: Keep = "all",
    progress: Callable[[VideoProgress], None] = lambda progress: None,
) -> Clean | None:
    """Upscale a video with constant memory; resume an interrupted run. Audio, timestamps and colour tags are kept.

    Args:
        source: a video file, or its bytes.
        output: the result: .mp4, .mov or .mkv. It appears whole or not at all.
        finish: size of the frames, and the steps that follow. `Codec.even` cuts a row or a column off odd sides.
        model: identifies the weights. A run resumes only what the same weights have made.
        keep: which metadata of the file the result has; see `images.write_picture`.
        progress: called after each frame. An exception that it raises cancels; finished frames are kept for the next
            run.

    Returns:
        How much all frames were cleaned, for an upscaler that was loaded with `clean="auto"`; else None.

    Raises:
        RequestError: PyAV is missing, or `output` cannot hold the codec.
        PictureError: the source cannot be read as a video, its audio cannot be copied, or writing fails.
        MemoryLimitError: a frame does not fit into memory.
    """
    codec = CODECS[encoding.codec]
    encoding.require_suffix(output)
    chosen, clean = upscaler.for_video
    sized = finish if finish.size else replace(finish, size=Factor(upscaler.scale))

    def enlarged(pixels: Pixels) -> Any:
        result, _ = enhance(chosen, pixels, None, sized)
        height, width = codec.cropped(*result.shape[2:])
        return result[:, :, :height, :width]

    request = repr((model, finish))
    transcode(source, output, enlarged, encoding, request=request, keep=keep, at_once=chosen.at_once, progress=progress)
    return clean
