"""The finishing steps of the paper: unsharp mask and anti-aliasing, for numpy arrays and torch tensors alike.

Both process a picture in slabs of rows and can overwrite it with the result, so that they need little memory.
"""

import math
from dataclasses import dataclass
from typing import Any

from ..errors import RequestError
from ..util import Image, Progress, clamp_in_place
from .arrays import empty, require_picture, single
from .banded_matrix import column_filter, filter_rows
from .box_blur import BoxBlur
from .resize import resize_bands
from .sizes import Factor, Size
from .slabs import fill

LEVELS = 255
"""The steps compute in levels of 8 bits, 0 to 255."""
THRESHOLD_RAMP = 0.25
"""Levels over which the unsharp mask fades in at the threshold, which avoids visible jumps."""
SHARPEN_RAMP = 0.04
"""`BoxBlur.ramp` of `sharpen`: so narrow that 8-bit pictures get the same levels as from Pillow."""
ANTI_ALIAS_RAMP = 0.25
"""`BoxBlur.ramp` of `anti_alias`: wider, because enlarged pictures have no whole levels."""

STEPS = ("sharpen", "anti_alias")
"""The fields of `Finish` that are steps, in their order."""


@dataclass(frozen=True)
class Finish:
    """The size of the result, and the finishing steps after the resize."""

    size: Size | None = None
    """None: the size of the picture times the scale of the network."""
    sharpen: bool = False
    """Sharpen the result with an unsharp mask (radius 1.2)."""
    anti_alias: bool = False
    """Smooth jagged edges of the result by supersampling."""

    def sides(self, height: int, width: int, scale: int) -> tuple[int, int]:
        """(height, width) of the result for a picture of `height` x `width` and a network of `scale`."""
        tall, wide = (self.size or Factor(scale)).sides(height, width)
        return max(tall, 1), max(wide, 1)

    @property
    def steps(self) -> bool:
        """Whether there is any finishing step."""
        return any(getattr(self, name) for name in STEPS)

    def apply(self, image: Image, *, in_place: bool = False, progress: Progress | None = None) -> Image:
        """Apply the steps to `image` [B,C,H,W] in [0,1], which has its final size. `in_place`: overwrite it."""
        result = sharpen(image, in_place=in_place, progress=progress) if self.sharpen else image
        if self.anti_alias:
            result = anti_alias(result, in_place=in_place or result is not image, progress=progress)
        return result


def sharpen(
    image: Image,
    radius: float = 1.2,
    percent: float = 100,
    threshold: float = 1,
    *,
    in_place: bool = False,
    progress: Progress | None = None,
) -> Image:
    """Unsharp mask: add to each sample its difference from the blurred picture, as Pillow's `UnsharpMask` does.

    Args:
        image: [B,C,H,W] of any float precision, in [0,1].
        radius: standard deviation of the blur, in pixels; 0 changes nothing.
        percent: share of the difference that is added, in percent; 0 changes nothing.
        threshold: smallest difference that is added, in whole levels of 255: 1 ignores differences below 1.5 levels, as
            Pillow does. 0: all differences.
        in_place: overwrite `image` with the result.
        progress: called after each slab; an exception that it raises cancels.

    Returns:
        A picture of the same kind and shape, clamped to [0,1]; `image` itself where there is nothing to do.

    Raises:
        RequestError: a number is negative, or `image` is not such an array.
    """
    require_picture(image)
    _require_range(float("inf"), radius=radius, percent=percent, threshold=threshold)
    if radius == 0 or percent == 0:
        return image
    height, width = image.shape[2:]
    blur = BoxBlur(radius, SHARPEN_RAMP)

    def inputs(start: int, stop: int) -> tuple[int, int]:
        return blur.inputs(start, stop, height)

    def sharpened(source: Any, rows: tuple[int, int]) -> Any:
        start, stop = rows
        low, high = inputs(start, stop)
        levels = single(source[:, :, low:high]) * LEVELS
        sharp = levels[:, :, start - low : stop - low]
        difference = sharp - blur.rows(levels, low, start, stop, height)
        if threshold:
            faded = (abs(difference) - (threshold + 0.5 - THRESHOLD_RAMP / 2)) / THRESHOLD_RAMP
            difference = difference * faded.clip(0, 1)
        return ((sharp + difference * (percent / 100)) / LEVELS).clip(0, 1)

    result = image if in_place else empty(image, image.shape)
    fill(result, image, width, inputs, sharpened, progress)
    return result


def anti_alias(
    image: Image, blur: float = 0.5, amount: float = 1, *, in_place: bool = False, progress: Progress | None = None
) -> Image:
    """Smooth jagged edges by supersampling: Lanczos to twice the size, Gaussian blur, Lanczos back.

    Args:
        image: [B,C,H,W] of any float precision, in [0,1].
        blur: standard deviation of the blur, in pixels of twice the size.
        amount: share of the smoothed picture in the result, 0 (changes nothing) to 1.
        in_place: overwrite `image` with the result.
        progress: called after each slab; an exception that it raises cancels.

    Returns:
        A picture of the same kind and shape, clamped to [0,1]; `image` itself where there is nothing to do.

    Raises:
        RequestError: a number is out of range, or `image` is not such an array.
    """
    require_picture(image)
    _require_range(float("inf"), blur=blur)
    _require_range(1, amount=amount)
    if amount == 0:
        return image
    height, width = image.shape[2:]
    enlarge_rows = resize_bands(height, 2 * height, "lanczos")
    shrink_rows = resize_bands(2 * height, height, "lanczos")
    enlarge_columns = column_filter(resize_bands(width, 2 * width, "lanczos"), image)
    shrink_columns = column_filter(resize_bands(2 * width, width, "lanczos"), image)
    gaussian = BoxBlur(blur, ANTI_ALIAS_RAMP)

    def doubled(start: int, stop: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows at twice the size that rows of the result depend on, and the rows that the blur needs for them."""
        first, last = shrink_rows.inputs(start, stop)
        return (first, last), gaussian.inputs(first, last, 2 * height)

    def inputs(start: int, stop: int) -> tuple[int, int]:
        return enlarge_rows.inputs(*doubled(start, stop)[1])

    def smoothed(source: Any, rows: tuple[int, int]) -> Any:
        start, stop = rows
        (first, last), seen = doubled(start, stop)
        low, high = inputs(start, stop)
        levels = single(source[:, :, low:high]) * LEVELS
        # Lanczos overshoots at edges. Each pass is clamped, as in Pillow, so that overshoots do not spread.
        large = enlarge_columns(levels)
        clamp_in_place(large, LEVELS)
        large = filter_rows(enlarge_rows, large, *seen, low)
        clamp_in_place(large, LEVELS)
        large = gaussian.rows(large, seen[0], first, last, 2 * height)
        small = shrink_columns(large)
        clamp_in_place(small, LEVELS)
        smooth = filter_rows(shrink_rows, small, start, stop, first)
        clamp_in_place(smooth, LEVELS)
        if amount < 1:
            rough = levels[:, :, start - low : stop - low]
            smooth = rough + amount * (smooth - rough)
        return smooth / LEVELS

    result = image if in_place else empty(image, image.shape)
    fill(result, image, 4 * width, inputs, smoothed, progress)
    return result


def _require_range(most: float, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (0 <= number <= most and math.isfinite(number)):
            limits = "at least 0" if most == float("inf") else f"from 0 to {most:g}"
            raise RequestError(f"The {name} is {number:g}; give a number {limits}.")
