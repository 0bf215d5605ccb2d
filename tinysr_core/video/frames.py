"""Frames of PyAV to pictures of the core and back.

Pictures are float32 [1,3,H,W] in [0,1], upright, in the colour space of the video.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError

Pixels = NDArray[np.float32]

UNSPECIFIED = 2
"""The value of an unknown colour tag in H.273."""
LIMITED_RANGE, FULL_RANGE = 1, 2
"""FFmpeg's numbers for the range of samples."""
HD_HEIGHT = 720
"""Players take BT.709 for an unspecified matrix from this height on, and BT.601 below it."""
BT_709, BT_601, BT_2020 = 1, 5, 9
"""Numbers of matrices in FFmpeg's scaler."""
MATRICES = {1: BT_709, 4: 4, 5: BT_601, 6: BT_601, 7: 7, 9: BT_2020}
"""Matrix in H.273 -> matrix in FFmpeg's scaler."""


@dataclass(frozen=True)
class Colours:
    """Colour tags and bit depth of a frame. The result has the same tags, and its samples are made by the same matrix.

    `matrix`, `transfer` and `primaries` are numbers of H.273.
    """

    matrix: int
    sample_range: int
    """0, `LIMITED_RANGE` or `FULL_RANGE`; 0: unspecified."""
    transfer: int
    primaries: int
    scaler_matrix: int
    """The number of the matrix in FFmpeg's scaler; guessed from the height where `matrix` is unspecified."""
    deep: bool
    """Whether samples have more than 8 bits."""

    @classmethod
    def of(cls, frame: Any) -> "Colours":
        """The colours of a decoded frame."""
        matrix = int(frame.colorspace)
        guessed = BT_709 if frame.height >= HD_HEIGHT else BT_601
        full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
        return cls(
            matrix=matrix,
            sample_range=FULL_RANGE if full else int(frame.color_range),
            transfer=int(getattr(frame, "color_trc", UNSPECIFIED)),
            primaries=int(getattr(frame, "color_primaries", UNSPECIFIED)),
            scaler_matrix=MATRICES.get(matrix, guessed),
            deep=any(component.bits > 8 for component in frame.format.components),
        )


def is_turned(frame: Any) -> bool:
    """Whether players rotate a decoded frame by 90 or 270 degrees, so that width and height swap."""
    return bool(_quarter_turns(frame) % 2)


def upright_sides(frame: Any) -> tuple[int, int]:
    """Height and width of a decoded frame, rotated as players show it."""
    return (frame.width, frame.height) if is_turned(frame) else (frame.height, frame.width)


def to_pixels(frame: Any, colours: Colours) -> Pixels:
    """A decoded frame as a picture [1,3,H,W], rotated as players show it."""
    rgb = frame.reformat(
        format="rgb48le" if colours.deep else "rgb24",
        src_colorspace=colours.scaler_matrix,
        src_color_range=colours.sample_range,
        dst_color_range=FULL_RANGE,
    )
    levels = rgb.to_ndarray()
    upright = np.rot90(levels, _quarter_turns(frame)).transpose(2, 0, 1)[None]
    pixels: Pixels = np.ascontiguousarray(upright, np.float32)
    pixels /= np.iinfo(levels.dtype).max
    return pixels


def to_frame(pixels: Any, colours: Colours, pixel_format: str) -> Any:
    """A picture [1,3,H,W] in [0,1] as an `av.VideoFrame` of `pixel_format`.

    Raises:
        RequestError: this PyAV would write wrong colours.
    """
    from av import VideoFrame, __version__

    if colours.scaler_matrix == BT_2020 and int(__version__.split(".")[0]) < 18:
        raise RequestError(
            f"PyAV {__version__} writes BT.2020 colours wrongly; use PyAV 18 or later, with Python 3.11 or later."
        )

    kind, most = (np.uint16, 65535) if colours.deep else (np.uint8, 255)
    levels = np.rint(np.asarray(pixels)[0].transpose(1, 2, 0) * np.float32(most)).astype(kind)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(levels), "rgb48le" if colours.deep else "rgb24")
    return frame.reformat(
        format=pixel_format,
        src_color_range=FULL_RANGE,
        dst_colorspace=colours.scaler_matrix,
        dst_color_range=colours.sample_range or LIMITED_RANGE,
    )


def _quarter_turns(frame: Any) -> int:
    """Quarter turns counterclockwise, 0 to 3, that make a frame upright. Older PyAV does not read the rotation."""
    return round(getattr(frame, "rotation", 0) / 90) % 4
