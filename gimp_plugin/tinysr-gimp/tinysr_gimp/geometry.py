"""Where a picture and its parts lie, and how large their results are. Knows nothing of GIMP."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

MAX_SIDE = 524288
"""The longest side of an image that GIMP allows, in pixels."""


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels; `x` and `y` may be negative, as layers may begin outside their image."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Its number of pixels."""
        return self.width * self.height

    def grown(self, factors: Factors) -> Box:
        """The rectangle enlarged about its centre."""
        size = Box(0, 0, self.width, self.height).scaled(factors)
        return Box(
            self.x + (self.width - size.width) // 2, self.y + (self.height - size.height) // 2, size.width, size.height
        )

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
        """The rectangle in the enlarged picture; never thinner than a pixel.

        Edges are rounded, as GIMP does it, so that rectangles that touch still touch.
        """
        x, right = _nearest(self.x * factors.x), _nearest((self.x + self.width) * factors.x)
        y, bottom = _nearest(self.y * factors.y), _nearest((self.y + self.height) * factors.y)
        return Box(x, y, max(1, right - x), max(1, bottom - y))


@dataclass(frozen=True)
class Factors:
    """How much wider and how much taller a result is."""

    x: float
    y: float

    @property
    def largest(self) -> float:
        """The factor that the network must reach."""
        return max(self.x, self.y)

    @property
    def stretches(self) -> bool:
        """Whether the proportions change by more than rounding."""
        return abs(self.x / self.y - 1) > 0.01


@dataclass(frozen=True)
class Part:
    """A part of an image that is to be enlarged, in the coordinates of the image."""

    region: Box
    whole: Box
    """What it belongs to: `region` itself, or the group that is enlarged about its centre."""


@dataclass(frozen=True)
class Plan:
    """What becomes of the parts of an image."""

    subject: Box
    """What the wanted size is measured by."""
    factors: Factors
    frame: Box
    """The resulting image; it begins at 0, 0."""
    boxes: list[Box]
    """Where each part's result lies in it."""

    def enlarged(self, region: Box) -> Box:
        """Where `region` of the old image lies in a new or scaled one."""
        return region.moved(-self.subject.x, -self.subject.y).scaled(self.factors)

    @property
    def longest_side(self) -> int:
        """The longest side of anything in it, in pixels."""
        return max(max(box.width, box.height) for box in [self.frame, *self.boxes])


def plan(output: str, canvas: Box, parts: Sequence[Part], scale: str, width: int, height: int) -> Plan:
    """Where the results of `parts` of an image of the size of `canvas` lie.

    `output`, `scale`, `width` and `height` are the procedure's arguments; one of `width` and `height` is not 0 where
    `scale` is `size`. The wanted size is that of the image where it is scaled, else that of all parts together. New
    and replaced layers stay centred where their parts are.
    """
    scales_image = output in ("scale-image", "replace-image")
    subject = canvas if scales_image else _bounding_box(part.whole for part in parts)
    factors = _factors(subject, scale, width, height)
    enlarged = Box(0, 0, subject.width, subject.height).scaled(factors)
    # what GIMP works with when it scales an image: the ratio of whole pixels
    exact = Factors(enlarged.width / subject.width, enlarged.height / subject.height)
    if output == "same-size-layer":
        return Plan(subject, factors, canvas, [part.region for part in parts])
    if output in ("new-layer", "replace-layer"):
        return Plan(subject, factors, canvas, [_grown_with_its_whole(part, factors) for part in parts])
    layout = Plan(subject, exact, enlarged, [])
    return replace(layout, boxes=[layout.enlarged(part.region) for part in parts])


def _grown_with_its_whole(part: Part, factors: Factors) -> Box:
    whole = part.whole.grown(factors)
    return part.region.moved(-part.whole.x, -part.whole.y).scaled(factors).moved(whole.x, whole.y)


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


def _nearest(value: float) -> int:
    """As GIMP rounds coordinates: halves up."""
    return math.floor(value + 0.5)
