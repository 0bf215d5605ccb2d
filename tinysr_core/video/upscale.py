"""A video through a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engines import Upscaler
from ..pipeline import UNCHANGED, enhance
from ..postprocess import Finish
from .codecs import CODECS, Encoding
from .frames import Pixels
from .streaming import Source, VideoProgress, transcode

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".wmv", ".flv")
"""Files that are taken for videos. FFmpeg reads more."""

SAME = Encoding()


def upscale_video(
    source: Source,
    output: Path,
    upscaler: Upscaler,
    finish: Finish = UNCHANGED,
    encoding: Encoding = SAME,
    *,
    model: str,
    progress: Callable[[VideoProgress], None] = lambda progress: None,
) -> None:
    """Upscale a video with constant memory; a broken run goes on where it was. Audio, timestamps and colours stay.

    Args:
        source: a video file, or its bytes.
        output: the result: .mp4, .mov or .mkv. It appears whole or not at all.
        finish: size of the frames, and the steps that follow. Odd sides lose a row or a column where the codec wants
            even ones.
        model: what names the weights, so that a run goes on only with frames of the same ones.
        progress: called after each frame; an exception that it raises cancels. What is done stays for the next run.

    Raises:
        RequestError: PyAV is missing, or the file cannot hold the codec.
        PictureError: the source is no video that can be read, its audio cannot be copied, or writing fails.
        MemoryLimitError: a frame does not fit into memory.
    """
    even = CODECS[encoding.codec].even
    upscaler = upscaler.for_video

    def enlarged(pixels: Pixels) -> Any:
        result, _ = enhance(upscaler, pixels, None, finish)
        height, width = result.shape[2:]
        return result[:, :, : max(2, height - height % 2), : max(2, width - width % 2)] if even else result

    request = repr((model, finish))
    transcode(source, output, enlarged, encoding, request=request, at_once=upscaler.at_once, progress=progress)
