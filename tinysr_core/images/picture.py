"""The picture as it travels between a file and the network."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Bits = Literal[8, 16, 32]


@dataclass(frozen=True, eq=False)
class Picture:
    """One upright picture with everything its file said about it."""

    pixels: FloatArray
    """[1,3,H,W] or, for grey, [1,1,H,W]; [0,1], non-linear values in the space of `icc` (sRGB without one)."""
    alpha: FloatArray | None = None
    """[1,1,H,W], [0,1], 1 is opaque; the colours are not multiplied by it."""
    icc: bytes | None = None
    """The ICC profile, of the same kind (RGB or grey) as `pixels`."""
    exif: bytes | None = None
    """EXIF ("Exif", two zero bytes, a TIFF structure) without thumbnail; its orientation says upright."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontal and vertical."""
    bits: Bits = 8
    """Bits per channel of the file: 8, 16, or 32 for floating point. What is written has as many, if it can."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing that was converted or left out while reading."""

    @property
    def height(self) -> int:
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        return self.pixels.shape[-1]

    @property
    def grey(self) -> bool:
        return self.pixels.shape[1] == 1
