"""What runs a network: one module per runtime."""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import Image
from ..tiling import Window

Gate = NDArray[np.float32]
EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]


class Engine(Protocol):
    """A network that can be run on tiles."""

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        ...

    @property
    def halo(self) -> int:
        """How many LR pixels around a tile it must see for the tile to come out as in the whole picture."""
        ...

    @property
    def pool_halo(self) -> int | None:
        """The same for `pool`; None where the network has no gate."""
        ...

    def run(self, image: Image, gate: Gate | None) -> Image:
        """LR float32 [1,3,h,w] -> SR [1,3,s*h,s*w], not clamped. Without `gate`, the network derives its own.

        Raises:
            MemoryError: the tile is too large for the device.
        """
        ...

    def pool(self, image: Any, core: Window) -> Gate:
        """Mean trunk features [C] over `core`, a part of `image` [1,3,h,w]. Raises MemoryError as `run` does."""
        ...

    def gate(self, pooled: Gate) -> Gate:
        """The gate [C] for the mean trunk features [C] of a whole picture."""
        ...
