"""The requested size of a result: a factor, exact sides, a longest side, or megapixels.

Every size has `sides(height, width) -> (height, width)`, for a picture of that size. `result_size` refuses results that
are too large, and computes the factor that the network has to reach.

Sides are rounded half up to whole pixels, and are at least 1. A factor is taken as the decimal number that was typed:
1.005 is 1005/1000, not the nearest binary fraction. Rounding never exceeds a whole factor: a request for at most twice
the size needs a factor of at most 2.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from ..errors import RequestError

MAX_RESULT_PIXELS = 500_000_000
"""Larger results are refused as a typing error: 20000 x 25000 pixels, 6 GB of float32 RGB."""


@dataclass(frozen=True)
class Factor:
    """Both sides times `factor`, for example 1.5 or 3.7. Below 1 the picture is downscaled."""

    factor: float

    def __post_init__(self) -> None:
        _refuse_unless_positive("The scale factor", self.factor)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        factor = Fraction(repr(float(self.factor)))
        return _half_up(height * factor), _half_up(width * factor)


@dataclass(frozen=True)
class ExactSize:
    """Exactly `width` x `height` pixels.

    The result is stretched if its aspect ratio differs from that of the picture. Nothing is cropped, and no border is
    added. `LongestSide` and `Factor` keep the aspect ratio.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        _refuse_unless_whole("The width", self.width)
        _refuse_unless_whole("The height", self.height)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class LongestSide:
    """The longer side has exactly `pixels` pixels; the aspect ratio is kept. Smaller values downscale."""

    pixels: int

    def __post_init__(self) -> None:
        _refuse_unless_whole("The longest side", self.pixels)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        factor = Fraction(self.pixels, max(height, width))
        return _half_up(height * factor), _half_up(width * factor)


@dataclass(frozen=True)
class Megapixels:
    """About `millions` x 1,000,000 pixels; the aspect ratio is kept. Smaller values downscale."""

    millions: float

    def __post_init__(self) -> None:
        _refuse_unless_positive("The number of megapixels", self.millions)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        factor = Fraction(math.sqrt(self.millions * 1e6 / (height * width)))
        return _half_up(height * factor), _half_up(width * factor)


Size = Factor | ExactSize | LongestSide | Megapixels


@dataclass(frozen=True)
class ResultSize:
    """The sides of a result in pixels, and the enlargement that the network has to reach."""

    height: int
    width: int
    factor: float
    """The larger enlargement of the two axes; 1 or less: no enlargement."""


def result_size(size: Size, height: int, width: int, *, max_pixels: int = MAX_RESULT_PIXELS) -> ResultSize:
    """The size of the result for a picture of `height` x `width` pixels.

    Raises:
        RequestError: the result would have more than `max_pixels` pixels.
    """
    tall, wide = size.sides(height, width)
    tall, wide = max(tall, 1), max(wide, 1)
    if tall * wide > max_pixels:
        raise RequestError(
            f"The result would be {wide} x {tall} = {tall * wide // 10**6:,} megapixels, over the limit of"
            f" {max_pixels // 10**6:,}; ask for a smaller size."
        )
    return ResultSize(tall, wide, max(tall / height, wide / width))


def parse_size(text: str) -> ExactSize:
    """Parse a size such as "1920x1080": width first; x, X or ×.

    Raises:
        RequestError: the text is not a size, or a side is 0.
    """
    match = re.fullmatch(r"\s*(\d+)\s*[xX×]\s*(\d+)\s*", text, re.ASCII)
    if match is None:
        raise RequestError(f"{text!r} is not a size; give width and height, for example 1920x1080.")
    return ExactSize(width=int(match[1]), height=int(match[2]))


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _refuse_unless_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise RequestError(f"{name} is {value}; give a positive number.")


def _refuse_unless_whole(name: str, value: int) -> None:
    if not (value >= 1 and value % 1 == 0):
        raise RequestError(f"{name} is {value}; give a whole number of at least 1 pixel.")
