"""Copies the tiles of a picture into its result. Needs no torch for numpy arrays."""

from typing import TYPE_CHECKING, Any

from .tiling import Window

if TYPE_CHECKING:
    from torch import Tensor
    from torch.cuda import Event


class TileWriter:
    """Writes tiles into `result` [B,3,H,W], a numpy array or a tensor. Call `finish` after the last tile.

    If tiles are on a CUDA device and the result is not, each tile is copied asynchronously to pinned memory and written
    while the device computes the next one. At most two tiles are in pinned memory.
    """

    def __init__(self, result: Any) -> None:
        self._result = result
        self._pending: tuple[Window, Tensor, Event | None] | None = None

    def write(self, tile: Any, window: Window) -> None:
        """Write `tile` at `window` of the result, at the latest during the next call."""
        if not getattr(tile, "is_cuda", False) or getattr(self._result, "is_cuda", False):
            self._result[window.index] = tile
            return
        from .torch_engine import start_copy  # the tile is a tensor, so torch is already imported

        pending = window, *start_copy(tile)
        self.finish()
        self._pending = pending

    def finish(self) -> None:
        """Wait for the pending tile, if there is one, and write it."""
        if self._pending is None:
            return
        window, tile, copied = self._pending
        self._pending = None
        if copied is not None:
            copied.synchronize()
        self._result[window.index] = tile
