"""Brings the tiles of a picture to where its result is. Needs no torch where arrays are numpy's."""

from typing import TYPE_CHECKING, Any

from .tiling import Window

if TYPE_CHECKING:
    from torch import Tensor
    from torch.cuda import Event


class Delivery:
    """Writes tiles into `result` [B,3,H,W], a numpy array or a tensor. Call `finish` after the last one.

    A tile on a CUDA device whose result is on the host is copied into pinned memory behind its computation, and written
    while the device computes the next one, so that the device need not wait. Two tiles are held in pinned memory.
    """

    def __init__(self, result: Any) -> None:
        self._result = result
        self._coming: tuple[Window, Tensor, Event | None] | None = None

    def put(self, tile: Any, place: Window) -> None:
        """Write `tile` at `place`, at the latest when the next one has been put."""
        if not getattr(tile, "is_cuda", False) or getattr(self._result, "is_cuda", False):
            self._result[place.index] = tile
            return
        from .torch_engine import start_copy  # here is a tensor, so torch is loaded

        coming = place, *start_copy(tile)
        self.finish()
        self._coming = coming

    def finish(self) -> None:
        """Wait for the last tile, and write it."""
        if self._coming is None:
            return
        place, tile, arrival = self._coming
        self._coming = None
        if arrival is not None:
            arrival.synchronize()
        self._result[place.index] = tile
