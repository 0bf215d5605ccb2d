"""The positions of tiles and probe windows, in LR pixels."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

PROBE_SIDE = 40
"""Side of a probe window, without its halo."""
PROBE_SHARE = 0.05
"""Largest share of a picture that all probe windows with their halos may cover; it bounds their cost."""
MAX_PROBES = 36
"""More windows do not improve the mean."""
MIN_PROBES = 4
"""Fewer windows would not represent a picture, even a thin one."""
WHOLE_SIDE = 512
"""A picture up to this width and height has no probe windows: all of it is used."""


@dataclass(frozen=True)
class Span:
    """The range from `start` to `stop` along one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)

    def grown(self, halo: int, length: int, border: int = 0) -> "Span":
        """This span with `halo` more on both sides, but at most `border` beyond the ends of an axis of `length`."""
        return Span(max(-border, self.start - halo), min(length + border, self.stop + halo))

    def within(self, outer: "Span") -> "Span":
        """This span relative to the start of `outer`."""
        return Span(self.start - outer.start, self.stop - outer.start)

    def scaled(self, factor: int) -> "Span":
        return Span(self.start * factor, self.stop * factor)


@dataclass(frozen=True)
class Window:
    """A rectangle of a picture."""

    rows: Span
    columns: Span

    @property
    def area(self) -> int:
        return len(self.rows) * len(self.columns)

    def grown(self, halo: int, height: int, width: int, border: int = 0) -> "Window":
        return Window(self.rows.grown(halo, height, border), self.columns.grown(halo, width, border))

    def within(self, outer: "Window") -> "Window":
        return Window(self.rows.within(outer.rows), self.columns.within(outer.columns))

    def scaled(self, factor: int) -> "Window":
        return Window(self.rows.scaled(factor), self.columns.scaled(factor))

    @property
    def index(self) -> tuple[slice, slice, slice, slice]:
        """The index of this rectangle in an array [B,C,H,W]."""
        return (slice(None), slice(None), self.rows.slice, self.columns.slice)


def tiles(height: int, width: int, side: int, even: bool = False) -> list[Window]:
    """Tiles of at most `side` x `side` pixels that cover the picture exactly once, of nearly equal size, row by row.

    Args:
        even: one tile, or an even number of them.
    """
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    if even and rows * columns > 1 and rows % 2 and columns % 2:
        if height / rows > width / columns:
            rows += 1
        else:
            columns += 1
    return [Window(y, x) for y in _cut(height, rows) for x in _cut(width, columns)]


def probes(height: int, width: int, halo: int) -> list[Window]:
    """Evenly spaced windows for the mean features of a large picture; empty for a small one, of which all is used.

    They depend only on the size of the picture and on `halo`, the reach of the features, and not on the tiles.
    """
    if max(height, width) <= WHOLE_SIDE:
        return []
    count = int(PROBE_SHARE * height * width / (PROBE_SIDE + 2 * halo) ** 2)
    count = min(max(count, MIN_PROBES), MAX_PROBES)
    rows = min(max(1, round(math.sqrt(count * height / width))), count)
    columns = count // rows
    return [Window(y, x) for y in _spread(height, rows) for x in _spread(width, columns)]


def _cut(length: int, count: int) -> Iterator[Span]:
    edges = [length * i // count for i in range(count + 1)]
    return (Span(a, b) for a, b in itertools.pairwise(edges))


def _spread(length: int, count: int) -> Iterator[Span]:
    side = min(PROBE_SIDE, length // count)
    for i in range(count):
        start = (length * (2 * i + 1) - side * count) // (2 * count)
        yield Span(start, start + side)
