"""A Gaussian blur by box blurs, for numpy arrays and torch tensors alike."""

import math
from functools import partial
from typing import Any

from ..util import Image
from .arrays import cut, empty
from .slabs import in_parts

PASSES = 3
"""Box blurs along each axis. Together they approximate a Gaussian blur."""


class BoxBlur:
    """Three box blurs along each axis of pictures [B,C,H,W] in levels of 8 bits, [0,255]; border samples are repeated.

    The box of fractional width is from Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box
    Filtering" (2011): three such boxes have the variance of the Gaussian.

    Pillow rounds after each of the six passes, which drops changes of less than half a level: its blur is weaker than a
    Gaussian by up to three levels. Here each pass changes samples by whole levels too, but does not round the samples:
    8-bit pictures get the same blur as from Pillow, and deeper pictures keep their precision. A ramp of `ramp` levels
    replaces the step halfway between two whole changes, so that the last bit of a sample does not become a level. All
    sums have the same order, so that the result does not depend on the slabs.

    Args:
        deviation: standard deviation of the Gaussian, in pixels.
        ramp: width of the ramp, in levels.
    """

    def __init__(self, deviation: float, ramp: float) -> None:
        variance = deviation**2 / PASSES
        whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
        rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
        self.reach = whole + 1
        self.inner = 1 / (2 * (whole + rest) + 1)
        """Weight of samples nearer than `reach`."""
        self.outer = rest * self.inner
        """Weight of the two samples at `reach`."""
        self.ramp = ramp

    def inputs(self, start: int, stop: int, height: int) -> tuple[int, int]:
        """Range of the rows that rows `start` to `stop` of the result depend on; the picture has `height` rows."""
        return max(start - PASSES * self.reach, 0), min(stop + PASSES * self.reach, height)

    def rows(self, image: Image, low: int, start: int, stop: int, height: int) -> Image:
        """Rows `start` to `stop` of the blurred picture. `image` has the rows of `inputs`, which start at `low`."""
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
        """One pass along `axis`; border samples are repeated `before` and `after` times."""
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


def _padded(image: Any, axis: int, before: int, after: int) -> Any:
    length = image.shape[axis]
    shape = list(image.shape)
    shape[axis] += before + after
    padded = empty(image, tuple(shape))
    padded[cut(axis, before, before + length)] = image
    padded[cut(axis, 0, before)] = image[cut(axis, 0, 1)]
    padded[cut(axis, before + length, None)] = image[cut(axis, length - 1, length)]
    return padded
