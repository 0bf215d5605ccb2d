"""Frames of PyAV and pictures of the core: float32 [1,3,H,W] in [0,1], upright, in the video's own colours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

UNSPECIFIED = 2
"""What H.273 calls a colour tag that is not known."""
FULL_RANGE = 2
"""FFmpeg's number for samples that use all levels."""
HD_HEIGHT = 720
"""From this height on, players take BT.709 where the matrix is not known; below it, BT.601."""
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""H.273's matrix -> the one of FFmpeg's scaler; 5 and 6 are the same."""


@dataclass(frozen=True)
class Colours:
    """What the samples of a video mean. The result has the same tags, and samples that were made by the same matrix."""

    matrix: int
    full_range: int
    transfer: int
    primaries: int
    matrix_used: int
    """The matrix of FFmpeg's scaler."""
    deep: bool
    """Whether samples have more than 8 bits."""

    @classmethod
    def of(cls, frame: Any) -> "Colours":
        """The colours of a decoded frame."""
        matrix = int(frame.colorspace)
        guessed = 1 if frame.height >= HD_HEIGHT else 5
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
        return cls(
            matrix=matrix,
            full_range=FULL_RANGE if full else int(frame.color_range),
            transfer=int(getattr(frame, "color_trc", UNSPECIFIED)),
            primaries=int(getattr(frame, "color_primaries", UNSPECIFIED)),
            matrix_used=MATRICES.get(matrix, guessed),
            deep=any(component.bits > 8 for component in frame.format.components),
        )


def to_pixels(frame: Any, colours: Colours) -> Pixels:
    """A decoded frame as a picture, turned upright."""
    rgb = frame.reformat(
        format="rgb48le" if colours.deep else "rgb24",
        src_colorspace=colours.matrix_used,
        src_color_range=colours.full_range,
        dst_color_range=FULL_RANGE,
    )
    levels = rgb.to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    upright = np.rot90(levels, turns).transpose(2, 0, 1)[None]
    pixels: Pixels = np.ascontiguousarray(upright, np.float32)
    pixels /= np.iinfo(levels.dtype).max
    return pixels


def to_frame(pixels: Any, colours: Colours, pixel_format: str) -> Any:
    """A picture as a frame to be encoded."""
    from av import VideoFrame

    kind, most = (np.uint16, 65535) if colours.deep else (np.uint8, 255)
    levels = np.rint(np.asarray(pixels)[0].transpose(1, 2, 0) * np.float32(most)).astype(kind)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(levels), "rgb48le" if colours.deep else "rgb24")
    return frame.reformat(
        format=pixel_format,
        src_color_range=FULL_RANGE,
        dst_colorspace=colours.matrix_used,
        dst_color_range=colours.full_range or 1,
    )
