"""The paper's finishing steps, an unsharp mask and supersampling, in float for numpy arrays and torch tensors alike.

Both work through a picture in slabs of rows, and can write the result over the picture, so that they need little memory
beside it.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import RequestError
from ..util import Image, Progress, clamp_in_place
from .banded_matrix import column_filter, cut, empty, fill, filter_rows, in_parts, require_picture, single
from .resize import resize_bands
from .sizes import Factor, Size

LEVELS = 255
"""What happens between the steps is counted in levels of 8 bits."""
THRESHOLD_RAMP = 0.25
"""Levels over which the unsharp mask fades in, so that no jump is drawn where a difference crosses the threshold."""
SHARPEN_RAMP = 0.04
"""On pictures of 8 bits the mask is Pillow's to the last level: so few changes lie on a ramp."""
ANTI_ALIAS_RAMP = 0.25
"""Behind an enlargement nothing is exact, and a gentler ramp forgives more."""
PASSES = 3
"""Box blurs along each axis, which together are nearly a Gaussian one."""

STEPS = ("sharpen", "anti_alias")
"""The fields of `Finish` that are steps, in their order."""


@dataclass(frozen=True)
class Finish:
    """What follows the network: the size of the result, then the paper's two steps."""

    size: Size | None = None
    """None: the network's own scale."""
    sharpen: bool = False
    """Sharpen the result with an unsharp mask (radius 1.2)."""
    anti_alias: bool = False
    """Smooth jagged edges of the result by supersampling."""

    def sides(self, height: int, width: int, scale: int) -> tuple[int, int]:
        """Height and width of the result for a picture of `height` x `width` and a network of `scale`."""
        tall, wide = (self.size or Factor(scale)).sides(height, width)
        return max(tall, 1), max(wide, 1)

    @property
    def steps(self) -> bool:
        """Whether any step follows the resize."""
        return any(getattr(self, name) for name in STEPS)

    def apply(self, image: Image, *, in_place: bool = False, progress: Progress | None = None) -> Image:
        """Run the steps on `image` [B,C,H,W] in [0,1], which has its final size. `in_place` allows writing over it."""
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
    """Unsharp mask: add to each sample its difference to the blurred picture. Pillow's `UnsharpMask`.

    Args:
        image: [B,C,H,W] of any float precision, in [0,1].
        radius: standard deviation of the blur, in pixels; 0 changes nothing.
        percent: how much of the difference is added; 0 changes nothing.
        threshold: differences of up to so many of 255 levels are left alone. As in Pillow they count in whole levels:
            1 leaves alone what is below 1.5. 0 leaves nothing alone.
        in_place: write the result over `image`, which is not written to otherwise.
        progress: called slab by slab.

    Returns:
        A picture of the same kind and shape, clamped to [0,1]; `image` itself where nothing is to be done.

    Raises:
        RequestError: a number is negative, or the array is no picture.
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
    """Supersampling: Lanczos to twice the size, a Gaussian blur there, Lanczos back. Smooths stairs at edges.

    Args:
        image: [B,C,H,W] of any float precision, in [0,1].
        blur: standard deviation of the blur, in pixels of twice the size.
        amount: share of the smoothed picture in the result, from 0 (changes nothing) to 1.
        in_place: write the result over `image`, which is not written to otherwise.
        progress: called slab by slab.

    Returns:
        A picture of the same kind and shape, clamped to [0,1]; `image` itself where nothing is to be done.

    Raises:
        RequestError: a number is out of its range, or the array is no picture.
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
        """Rows at twice the size that rows of the result depend on, and what the blur sees of them."""
        first, last = shrink_rows.inputs(start, stop)
        return (first, last), gaussian.inputs(first, last, 2 * height)

    def inputs(start: int, stop: int) -> tuple[int, int]:
        return enlarge_rows.inputs(*doubled(start, stop)[1])

    def smoothed(source: Any, rows: tuple[int, int]) -> Any:
        start, stop = rows
        (first, last), seen = doubled(start, stop)
        low, high = inputs(start, stop)
        levels = single(source[:, :, low:high]) * LEVELS
        # Lanczos overshoots at edges. Each pass is clamped, as Pillow's are, or an overshoot would be smeared.
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


class BoxBlur:
    """Three box blurs along each axis of pictures [B,C,H,W] in levels of 8 bits, [0,255]; border samples are repeated.

    The box of fractional width is that of Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended
    Box Filtering" (2011): three of them have the variance of a Gaussian of that standard deviation.

    Pillow rounds after each pass, so a change of less than half a level never comes about, six times over: its blur is
    weaker than a Gaussian by up to three levels. Here each pass changes samples by whole levels too, without rounding
    the samples themselves: pictures of 8 bits get Pillow's blur, and smooth parts of finer ones stay as fine as they
    are. Halfway between two whole changes lies a ramp, `ramp` levels wide, rather than a step: a difference in the last
    bit of a sample must not become a level. Sums are taken in one order for all samples, so the result does not depend
    on how the picture is cut into slabs.
    """

    def __init__(self, deviation: float, ramp: float) -> None:
        variance = deviation**2 / PASSES
        whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
        rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
        self.reach = whole + 1
        self.inner = 1 / (2 * (whole + rest) + 1)
        """Weight of each sample nearer than `reach`."""
        self.outer = rest * self.inner
        """Weight of the two samples at `reach`."""
        self.ramp = ramp

    def inputs(self, start: int, stop: int, height: int) -> tuple[int, int]:
        """Range of the rows, of `height`, that the rows `start` to `stop` of the result depend on."""
        return max(start - PASSES * self.reach, 0), min(stop + PASSES * self.reach, height)

    def rows(self, image: Image, low: int, start: int, stop: int, height: int) -> Image:
        """Rows `start` to `stop` of the blurred picture, from those that `inputs` tells; `low` is the first of them."""
        across = in_parts(self._across, image, 2)
        return in_parts(partial(self._down, low=low, start=start, stop=stop, height=height), across, 3)

    def _across(self, image: Image) -> Image:
        """All passes along the rows."""
        for _ in range(PASSES):
            image = self._blurred(image, 3, self.reach, self.reach)
        return image

    def _down(self, image: Image, low: int, start: int, stop: int, height: int) -> Image:
        """All passes along the columns; see `rows`."""
        for later in reversed(range(PASSES)):
            first, last = max(start - later * self.reach, 0), min(stop + later * self.reach, height)
            above = low - (first - self.reach)
            below = last + self.reach - (low + image.shape[2])
            image = self._blurred(image, 2, above, below)
            low = first
        return image

    def _blurred(self, image: Image, axis: int, before: int, after: int) -> Image:
        """One pass along `axis`, over the picture with its border samples repeated so many times."""
        padded = _padded(image, axis, before, after)
        length = padded.shape[axis] - 2 * self.reach

        def shifted(offset: int) -> Any:
            return padded[cut(axis, self.reach + offset, self.reach + offset + length)]

        centre = shifted(0)
        change = (shifted(-self.reach) + shifted(self.reach) - 2 * centre) * self.outer
        for offset in range(1, self.reach):
            change += (shifted(-offset) + shifted(offset) - 2 * centre) * self.inner
        whole = change.round()
        change -= whole
        flat = (1 - self.ramp) / 2
        change -= change.clip(-flat, flat)
        change *= 1 / self.ramp
        change += whole
        change += centre
        return change


def _require_range(most: float, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (0 <= number <= most and math.isfinite(number)):
            limits = "must not be negative" if most == float("inf") else f"must lie between 0 and {most:g}"
            raise RequestError(f"The {name} {limits}, and {number:g} was given.")


def _padded(image: Any, axis: int, before: int, after: int) -> Any:
    length = image.shape[axis]
    shape = list(image.shape)
    shape[axis] += before + after
    padded = empty(image, tuple(shape))
    padded[cut(axis, before, before + length)] = image
    padded[cut(axis, 0, before)] = image[cut(axis, 0, 1)]
    padded[cut(axis, before + length, None)] = image[cut(axis, length - 1, length)]
    return padded
