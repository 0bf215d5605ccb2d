"""The size modes of *TinySR Upscale*: widgets in, sides out."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from torch import Tensor

from ..tinysr_core.errors import RequestError
from ..tinysr_core.postprocess import ExactSize, Factor, Megapixels, result_size

MATCH = "match size"
MODES = ("network scale", "factor", "fit", "fill", "stretch", "megapixels", MATCH)


def size_widgets(modes: Sequence[str]) -> dict[str, Any]:
    """The widgets that a `SizeRequest` is made of, in ComfyUI's format."""
    match = "match size: the size of the picture at match, cropped evenly. " if MATCH in modes else ""
    return {
        "size": (
            list(modes),
            {
                "tooltip": "network scale: what the network gives. factor: both sides times factor. fit: the largest "
                "size within width and height. fill: covers width and height, cropped evenly. stretch: exactly width "
                f"by height. megapixels: that many million pixels. {match}All but stretch keep the proportions."
            },
        ),
        "factor": (
            "FLOAT",
            {"default": 2.0, "min": 0.05, "max": 16.0, "step": 0.05, "round": 0.0001}
            | {"tooltip": "For size factor: both sides are multiplied by this, for example 1.5."},
        ),
        "width": (
            "INT",
            {"default": 0, "min": 0, "max": 32768}
            | {"tooltip": "For size fit, fill or stretch, in pixels. 0: follows from the height."},
        ),
        "height": (
            "INT",
            {"default": 0, "min": 0, "max": 32768}
            | {"tooltip": "For size fit, fill or stretch, in pixels. 0: follows from the width."},
        ),
        "megapixels": (
            "FLOAT",
            {"default": 4.0, "min": 0.01, "max": 500.0, "step": 0.1, "round": 0.001}
            | {"tooltip": "For size megapixels: about this many million pixels."},
        ),
    }


@dataclass(frozen=True)
class Sizing:
    """A frame is resized to `height` x `width`, then cropped to its middle, `kept`."""

    height: int
    width: int
    kept: tuple[int, int]
    """Height and width of the result."""

    def crop(self, planes: Tensor) -> Tensor:
        """The middle of planes [...,height,width]."""
        top, left = (self.height - self.kept[0]) // 2, (self.width - self.kept[1]) // 2
        return planes[..., top : top + self.kept[0], left : left + self.kept[1]]


@dataclass(frozen=True)
class SizeRequest:
    """The size widgets of the node. `mode` is one of `MODES` and decides which of the others are read."""

    mode: str
    factor: float
    width: int
    height: int
    megapixels: float
    divisible_by: int = 1
    match: tuple[int, int] | None = None
    """Height and width of the picture to match."""

    def sizing(self, height: int, width: int, scale: int) -> Sizing:
        """The sizing of a frame of `height` x `width` by a network of `scale`.

        Raises:
            RequestError: the mode needs a side and none is given, or the result would be absurdly large.
        """
        tall, wide = self._kept(height, width, scale)
        result_size(ExactSize(wide, tall), height, width)  # refuses absurd sizes
        if self.mode == "stretch":
            return Sizing(tall, wide, (tall, wide))
        # Proportions are kept; the rest is cropped evenly.
        factor = max(Fraction(tall, height), Fraction(wide, width))
        if self.divisible_by == 1 and not self._covers:
            return Sizing(tall, wide, (tall, wide))  # the sides differ by rounding only
        return Sizing(max(tall, _rounded(height * factor)), max(wide, _rounded(width * factor)), (tall, wide))

    @property
    def _covers(self) -> bool:
        """Whether the result is a given rectangle that the frame has to cover."""
        return self.mode == MATCH or (self.mode == "fill" and bool(self.width and self.height))

    def _kept(self, height: int, width: int, scale: int) -> tuple[int, int]:
        """Height and width of the result."""
        box = self._box()
        if box is None:
            size = {"network scale": Factor(scale), "factor": Factor(self.factor)}.get(
                self.mode, Megapixels(self.megapixels)
            )
            tall, wide = size.sides(height, width)
        elif self._covers or (self.mode == "stretch" and all(box)):
            tall, wide = box
        else:
            factors = [Fraction(side, old) for side, old in zip(box, (height, width), strict=True) if side]
            factor = max(factors) if self.mode == "fill" else min(factors)
            tall, wide = height * factor, width * factor
        most = box if box is not None and self.mode == "fit" else (0, 0)
        return self._divisible(tall, most[0]), self._divisible(wide, most[1])

    def _box(self) -> tuple[int, int] | None:
        """Height and width as given, 0 for one that follows from the other. None if the mode reads neither."""
        if self.mode == MATCH:
            if self.match is None:
                raise RequestError(f'The size mode "{MATCH}" needs a picture. Connect one to "match".')
            return self.match
        if self.mode not in ("fit", "fill", "stretch"):
            return None
        if not (self.width or self.height):
            raise RequestError(f'The size mode "{self.mode}" needs a width or a height. Set one of them above 0.')
        return self.height, self.width

    def _divisible(self, side: Fraction | int, most: int) -> int:
        """The multiple nearest to `side`, never 0 and not above `most` (0: no limit)."""
        step = self.divisible_by
        near = _rounded(Fraction(side) / step) * step
        return max(step, near - step if most and near > most else near)


def _rounded(side: Fraction) -> int:
    """Rounded half up, but never below 1."""
    return max(1, floor(side + Fraction(1, 2)))
