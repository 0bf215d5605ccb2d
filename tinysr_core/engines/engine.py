"""What every engine offers: the protocol that `Upscaler` runs networks through."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from ..util import Image
from .tiling import Window

BORDER = 6
"""By how many pixels a picture is continued for a network that was trained with zero padding. Such a network draws the
zeros beyond an edge into flat pictures and thin ones, up to 255 levels off; 6 pixels keep both flat to one level."""

Gate = Any
"""What `Engine.gate` makes for `Engine.run`: [C] or [1,C] in (0,1), where and as the engine wants it."""
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
    def border(self) -> int:
        """By how many pixels a picture is continued beyond its edges, as in a mirror."""
        ...

    @property
    def pool_halo(self) -> int | None:
        """How many it must see around a part for the trunk's features there; None where the network has no gate."""
        ...

    @property
    def tile(self) -> int:
        """Side of its tiles in LR pixels, halo not counted, where none is asked for: about 300 MB of features."""
        ...

    @property
    def only_enlarges(self) -> bool:
        """Whether a result no larger than the picture can do without the network."""
        ...

    @property
    def takes_batches(self) -> bool:
        """Whether `run` takes several pictures [B,3,h,w], and a gate for each, and is faster with them."""
        ...

    @property
    def fallback(self) -> "Engine | None":
        """The same network in plainer arithmetic, for tiles where this one gives NaN; None: nothing is plainer."""
        ...

    def moved(self, image: Image) -> Image:
        """A picture [1,3,H,W] where `run` and `gate` need not wait for its parts: on the GPU if that is to run them."""
        ...

    def run(self, image: Image, gate: Gate | None) -> Image:
        """LR float32 [1,3,h,w] -> SR [1,3,s*h,s*w], not clamped. Without `gate`, the network derives its own.

        Raises:
            MemoryError: the tile is too large for the device.
        """
        ...

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        """The gate from the mean trunk features over `cores`, parts of `image` [1,3,H,W].

        Raises:
            MemoryError: they are too large for the device.
        """
        ...
