"""Where a picture and its parts lie, and how large their results are. Knows nothing of GIMP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_SIDE = 524288
"""The longest side of an image that GIMP allows, in pixels."""


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels; `x` and `y` may be negative, as layers may begin outside their image."""

    x: int
    y: int
    width: int
    height: int

    def grown(self, factors: Factors) -> Box:
        """The rectangle enlarged about its centre."""
        size = self.scaled(factors)
        return Box(
            self.x + (self.width - size.width) // 2, self.y + (self.height - size.height) // 2, size.width, size.height
        )

    @property
    def area(self) -> int:
        """Its number of pixels."""
        return self.width * self.height

    def intersection(self, other: Box) -> Box | None:
        """What both cover, or None where they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Box(x, y, right - x, bottom - y) if right > x and bottom > y else None

    def moved(self, x: int, y: int) -> Box:
        """The same rectangle, `x` to the right and `y` further down."""
        return Box(self.x + x, self.y + y, self.width, self.height)

    def scaled(self, factors: Factors) -> Box:
        """The rectangle in the enlarged picture; never thinner than a pixel."""
        return Box(
            round(self.x * factors.x),
            round(self.y * factors.y),
            max(1, round(self.width * factors.x)),
            max(1, round(self.height * factors.y)),
        )


@dataclass(frozen=True)
class Factors:
    """How much wider and how much taller a result is."""

    x: float
    y: float

    @property
    def largest(self) -> float:
        """The factor that the network must reach."""
        return max(self.x, self.y)


@dataclass(frozen=True)
class Plan:
    """What becomes of the parts of an image."""

    factors: Factors
    frame: Box
    """The resulting image; it begins at 0, 0."""
    boxes: list[Box]
    """Where each part's result lies in it."""

    @property
    def longest_side(self) -> int:
        """The longest side of anything in it, in pixels."""
        return max(max(box.width, box.height) for box in [self.frame, *self.boxes])


def plan(output: str, canvas: Box, regions: list[Box], scale: str, width: int, height: int) -> Plan:
    """Where the results of `regions`, parts of an image of the size of `canvas`, lie.

    `output`, `scale`, `width` and `height` are the procedure's arguments; one of `width` and `height` is not 0 where
    `scale` is `size`. The wanted size is that of the image for `scale-image`, else that of all regions together. New
    layers stay centred where their regions are.
    """
    subject = canvas if output == "scale-image" else _bounding_box(regions)
    factors = _factors(subject, scale, width, height)
    if output == "same-size-layer":
        return Plan(factors, canvas, regions)
    if output == "new-layer":
        return Plan(factors, canvas, [region.grown(factors) for region in regions])
    enlarged = subject.scaled(factors)
    boxes = [region.scaled(factors).moved(-enlarged.x, -enlarged.y) for region in regions]
    return Plan(factors, Box(0, 0, enlarged.width, enlarged.height), boxes)


def _bounding_box(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of them; at least one is needed."""
    boxes = list(boxes)
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.width for box in boxes)
    bottom = max(box.y + box.height for box in boxes)
    return Box(x, y, right - x, bottom - y)


def _factors(subject: Box, scale: str, width: int, height: int) -> Factors:
    """A side of 0 keeps the proportions."""
    if scale != "size":
        factor = float(scale.removeprefix("x"))
        return Factors(factor, factor)
    x = width / subject.width if width else height / subject.height
    y = height / subject.height if height else x
    return Factors(x, y)
