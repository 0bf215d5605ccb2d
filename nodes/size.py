"""The size modes of *TinySR Upscale*: widgets in, sides out."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from torch import Tensor

from ..tinysr_core.errors import RequestError
from ..tinysr_core.postprocess import ExactSize, Factor, Megapixels, Size, result_size

MODES = ("network scale", "factor", "fit", "fill", "stretch", "megapixels")


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

    def sizing(self, height: int, width: int, scale: int) -> Sizing:
        """The sizing of a frame of `height` x `width` by a network of `scale`.

        Raises:
            RequestError: no side is given where one is needed, or the result would be absurdly large.
        """
        size = result_size(self._target(height, width, scale), height, width)
        cropped = self.mode == "fill" and self.width and self.height
        return Sizing(size.height, size.width, (self.height, self.width) if cropped else (size.height, size.width))

    def _target(self, height: int, width: int, scale: int) -> Size:
        if self.mode == "network scale":
            return Factor(scale)
        if self.mode == "factor":
            return Factor(self.factor)
        if self.mode == "megapixels":
            return Megapixels(self.megapixels)
        factors = [Fraction(box, side) for box, side in ((self.width, width), (self.height, height)) if box]
        if not factors:
            raise RequestError(
                f'The size mode "{self.mode}" needs a width or a height; a 0 follows from the other one.'
            )
        if self.mode == "stretch" and len(factors) == 2:
            return ExactSize(self.width, self.height)
        factor = max(factors) if self.mode == "fill" else min(factors)
        return ExactSize(width=_at_least_1(width * factor), height=_at_least_1(height * factor))


def _at_least_1(side: Fraction) -> int:
    return max(1, floor(side + Fraction(1, 2)))
