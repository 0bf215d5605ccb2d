"""Where a picture and its parts are, and how large their results are. Uses nothing of GIMP."""

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
        """The rectangle, enlarged around its centre."""
        size = Box(0, 0, self.width, self.height).scaled(factors)
        return Box(
            self.x + (self.width - size.width) // 2, self.y + (self.height - size.height) // 2, size.width, size.height
        )

    def intersection(self, other: Box) -> Box | None:
        """The part that both cover, or None if they do not overlap."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Box(x, y, right - x, bottom - y) if right > x and bottom > y else None

    def moved(self, x: int, y: int) -> Box:
        """The same rectangle, `x` further to the right and `y` further down."""
        return Box(self.x + x, self.y + y, self.width, self.height)

    def scaled(self, factors: Factors) -> Box:
        """The rectangle in the enlarged picture, at least one pixel wide and high.

        Edges are rounded as GIMP rounds them, so that rectangles that touch still touch.
        """
        x, right = _nearest(self.x * factors.x), _nearest((self.x + self.width) * factors.x)
        y, bottom = _nearest(self.y * factors.y), _nearest((self.y + self.height) * factors.y)
        return Box(x, y, max(1, right - x), max(1, bottom - y))


@dataclass(frozen=True)
class Factors:
    """How much wider and how much higher a result is."""

    x: float
    y: float

    @property
    def largest(self) -> float:
        """The factor that the networks must reach."""
        return max(self.x, self.y)

    @property
    def stretches(self) -> bool:
        """Whether the aspect ratio changes by more than rounding."""
        return abs(self.x / self.y - 1) > 0.01


@dataclass(frozen=True)
class Part:
    """A part of an image to enlarge, in the coordinates of the image."""

    region: Box
    whole: Box
    """What is enlarged around its centre: `region` itself, or the group that it belongs to."""


@dataclass(frozen=True)
class Plan:
    """Where the parts of an image go."""

    subject: Box
    """What the wanted size refers to."""
    factors: Factors
    frame: Box
    """The resulting image; its x and y are 0."""
    boxes: list[Box]
    """Where the result of each part is in it."""

    def enlarged(self, region: Box) -> Box:
        """Where `region` of the old image is in a new or scaled one."""
        return region.moved(-self.subject.x, -self.subject.y).scaled(self.factors)

    @property
    def longest_side(self) -> int:
        """The longest side of the image and of everything in it, in pixels."""
        return max(max(box.width, box.height) for box in [self.frame, *self.boxes])


def plan(output: str, canvas: Box, parts: Sequence[Part], scale: str, width: int, height: int) -> Plan:
    """Where the results of `parts` go; `canvas` is the rectangle of their image.

    `output`, `scale`, `width` and `height` are arguments of the procedure. If `scale` is `size`, `width` or `height` is
    not 0. The wanted size refers to the image where the image is scaled, and else to all parts together. New and
    replaced layers keep their centres.
    """
    scales_image = output in ("scale-image", "replace-image")
    subject = canvas if scales_image else _bounding_box(part.whole for part in parts)
    factors = _factors(subject, scale, width, height)
    enlarged = Box(0, 0, subject.width, subject.height).scaled(factors)
    # GIMP scales an image by the ratio of whole pixels
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
    """The smallest box around all `boxes`, at least one."""
    boxes = list(boxes)
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.width for box in boxes)
    bottom = max(box.y + box.height for box in boxes)
    return Box(x, y, right - x, bottom - y)


def _factors(subject: Box, scale: str, width: int, height: int) -> Factors:
    """A side of 0 keeps the aspect ratio."""
    if scale != "size":
        factor = float(scale.removeprefix("x"))
        return Factors(factor, factor)
    x = width / subject.width if width else height / subject.height
    y = height / subject.height if height else x
    return Factors(x, y)


def _nearest(value: float) -> int:
    """Round as GIMP rounds coordinates: halves up."""
    return math.floor(value + 0.5)
