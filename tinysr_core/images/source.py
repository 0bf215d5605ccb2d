"""What a decoder hands over: the samples of one picture, band by band, so that no second whole copy is needed."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .picture import Bits, FloatArray, Note

BAND_ROWS = 128
"""Rows converted at a time: few enough to be cheap, many enough to be fast."""

DAMAGE = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""What Pillow's decoders raise for damaged files (they parse in Python and do not check every step)."""


@dataclass(frozen=True)
class Source:
    """Samples of one picture as stored, before its orientation is applied."""

    height: int
    width: int
    channels: int
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha (colours not multiplied by it)."""
    bits: Bits
    bands: Iterable[FloatArray]
    """Consecutive [rows, width, channels] in [0,1] from top to bottom."""
    icc: bytes | None = None
    """The colour profile of these samples, not yet checked against them."""
    notes: list[Note] = field(default_factory=list[Note])
    """Sentences about what had to be converted or left out; may grow while `bands` is read."""


def unit_range(values: FloatArray, notes: list[Note]) -> FloatArray:
    """Floating-point samples limited to [0,1]; says so once in `notes` when that changed something."""
    limited = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    note = Note("range", "Values outside 0 to 1 were limited to that range.")
    if note not in notes and not np.array_equal(limited, values):
        notes.append(note)
    return limited
