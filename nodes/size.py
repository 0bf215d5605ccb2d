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
    """The widgets that a `SizeRequest` is made of, as ComfyUI wants them declared."""
    match = "match size: as large as the picture at match, cut off evenly. " if MATCH in modes else ""
    return {
        "size": (
            list(modes),
            {
                "tooltip": "network scale: as large as the network makes it. factor: both sides times factor. "
                "fit: as large as width and height allow. fill: covers width and height, cut off evenly. "
                f"stretch: exactly width by height. megapixels: that many million pixels. {match}"
                "All but stretch keep the proportions."
            },
        ),
        "factor": (
            "FLOAT",
            {"default": 2.0, "min": 0.05, "max": 16.0, "step": 0.05, "round": 0.0001}
            | {"tooltip": "For size factor: both sides times this, for example 1.5."},
        ),
        "width": (
            "INT",
            {"default": 0, "min": 0, "max": 32768}
            | {"tooltip": "For size fit, fill or stretch, in pixels; 0 follows from the height."},
        ),
        "height": (
            "INT",
            {"default": 0, "min": 0, "max": 32768}
            | {"tooltip": "For size fit, fill or stretch, in pixels; 0 follows from the width."},
        ),
        "megapixels": (
            "FLOAT",
            {"default": 4.0, "min": 0.01, "max": 500.0, "step": 0.1, "round": 0.001}
            | {"tooltip": "For size megapixels: about this many million pixels."},
        ),
    }


@dataclass(frozen=True)
class Sizing:
    """What becomes of a frame: it is brought to `height` x `width`, and of that the middle, `kept`, is the result."""

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
    """The size widgets of the node. `mode` is one of `MODES`; of the others each mode reads its own."""

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
            RequestError: no side is given where one is needed, or the result would be absurdly large.
        """
        tall, wide = self._kept(height, width, scale)
        result_size(ExactSize(wide, tall), height, width)  # refuses absurd sizes
        if self.mode == "stretch":
            return Sizing(tall, wide, (tall, wide))
        # Proportions are kept: what sticks out of the result is cut off evenly.
        factor = max(Fraction(tall, height), Fraction(wide, width))
        if self.divisible_by == 1 and not self._covers:
            return Sizing(tall, wide, (tall, wide))  # only rounding differs
        return Sizing(max(tall, _rounded(height * factor)), max(wide, _rounded(width * factor)), (tall, wide))

    @property
    def _covers(self) -> bool:
        """Whether the result is a given rectangle, which the frame covers."""
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
        """Height and width that are given, 0 where one follows from the other; None: the mode reads neither."""
        if self.mode == MATCH:
            if self.match is None:
                raise RequestError(f'The size mode "{MATCH}" needs a picture; connect one to "match".')
            return self.match
        if self.mode not in ("fit", "fill", "stretch"):
            return None
        if not (self.width or self.height):
            raise RequestError(
                f'The size mode "{self.mode}" needs a width or a height; a 0 follows from the other one.'
            )
        return self.height, self.width

    def _divisible(self, side: Fraction | int, most: int) -> int:
        """The multiple nearest to `side`, but not above `most` where that is given, and never 0."""
        step = self.divisible_by
        near = _rounded(Fraction(side) / step) * step
        return max(step, near - step if most and near > most else near)


def _rounded(side: Fraction) -> int:
    """Rounded half up, but never below 1."""
    return max(1, floor(side + Fraction(1, 2)))
