"""The output of a decoder: the samples of a picture in bands, so that no second copy of the picture is needed."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .picture import Bits, FloatArray, Note

BAND_ROWS = 128
"""Rows of a band, which is converted at a time: a compromise between memory and speed."""

DAMAGE = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""Exceptions that Pillow's decoders raise for damaged files. They parse in Python and do not check every step."""


@dataclass(frozen=True)
class Source:
    """Samples of one picture as stored, before its orientation is applied."""

    height: int
    width: int
    channels: int
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; not premultiplied."""
    bits: Bits
    bands: Iterable[FloatArray]
    """Consecutive [rows, width, channels] in [0,1] from top to bottom."""
    icc: bytes | None = None
    """The ICC profile. Not checked to fit the samples."""
    notes: list[Note] = field(default_factory=list[Note])
    """What was converted or left out. Grows while `bands` is read."""


def unit_range(values: FloatArray, notes: list[Note]) -> FloatArray:
    """Clip floating-point samples to [0,1], and replace NaN by 0; add one note if that changes any."""
    limited = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    note = Note("range", "Values outside 0 to 1 were limited to that range.")
    if note not in notes and not np.array_equal(limited, values):
        notes.append(note)
    return limited
