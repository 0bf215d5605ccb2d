"""The protocol that every engine implements, and that `Upscaler` uses."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from ..util import Image
from .tiling import Window

BORDER = 6
"""Mirrored pixels around a picture for a network trained with zero padding. Without them, the zeros beyond the edge
show in the result, in flat or thin pictures by up to 255 levels; with 6 pixels, flat pictures stay flat to one
level."""

Gate = Any
"""The result of `Engine.gate` for `Engine.run`: [C] or [1,C] in (0,1), of the engine's own type and device."""
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
        """LR pixels around a tile that the network must see, so that the tile equals that of the whole picture."""
        ...

    @property
    def border(self) -> int:
        """Mirrored LR pixels around the picture."""
        ...

    @property
    def pool_halo(self) -> int | None:
        """LR pixels around a window that its trunk features depend on; None if the network has no gate."""
        ...

    @property
    def tile(self) -> int:
        """Default side of a tile in LR pixels, without halo: 200 to 450 MB of features."""
        ...

    @property
    def only_enlarges(self) -> bool:
        """Whether the network may be skipped if the result is not larger than the picture."""
        ...

    @property
    def takes_batches(self) -> bool:
        """Whether `run` accepts a batch [B,3,h,w] with gates [B,C], and is faster with it."""
        ...

    @property
    def parallel(self) -> int:
        """How many threads call `run` at the same time; 1: threads would not make it faster."""
        ...

    @property
    def fallback(self) -> "Engine | None":
        """The same network in higher precision, for tiles where this one gives NaN; None: there is none."""
        ...

    def moved(self, image: Image) -> Image:
        """The picture [1,3,H,W] on the device of the engine, if that saves copying each tile."""
        ...

    def run(self, image: Image, gate: Gate | None) -> Image:
        """LR float32 [1,3,h,w] -> SR [1,3,s*h,s*w], not clamped. Without `gate`, the network computes its own.

        Raises:
            MemoryError: the tile is too large for the device.
        """
        ...

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        """The gate from the mean trunk features over `cores`, windows of `image` [1,3,H,W].

        Raises:
            MemoryError: the windows are too large for the device.
        """
        ...
