"""Enlarges a frame where the network runs, and says how much memory that takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..tinysr_core.engines import Upscaler, inference
from ..tinysr_core.errors import MemoryLimitError
from ..tinysr_core.pipeline import enhance
from ..tinysr_core.postprocess import ExactSize, Finish
from ..tinysr_core.util import Progress, Work
from . import host
from .engine import SpandrelEngine, foreign_memory
from .size import Sizing

RESIZES = ("cuda", "xpu", "mps")
"""Kinds of devices that resize frames; others leave it to the CPU."""


class Enlarge:
    """Brings frames to their size: on a GPU as a whole where it has room, since a resize takes longer on the CPU."""

    def __init__(self, upscaler: Upscaler, device: torch.device) -> None:
        self._upscaler = upscaler
        self._device = device

    def __call__(
        self, pixels: Tensor, alpha: Tensor | None, sizing: Sizing, progress: Progress
    ) -> tuple[Tensor, Tensor | None]:
        """Pixels [1,1|3,H,W] and alpha [1,1,H,W] as the result has them; they may lie on the GPU."""
        finish = Finish(size=ExactSize(sizing.width, sizing.height))
        scale = self._upscaler.scale
        resized = (sizing.height, sizing.width) != (pixels.shape[2] * scale, pixels.shape[3] * scale)
        large = self._on_gpu(pixels, alpha, finish, progress) if resized and self._device.type in RESIZES else None
        if large is None:
            large = enhance(self._upscaler, pixels, alpha, finish, progress=progress)
        return sizing.crop(large[0]), None if large[1] is None else sizing.crop(large[1])

    def _on_gpu(
        self, pixels: Tensor, alpha: Tensor | None, finish: Finish, progress: Progress
    ) -> tuple[Tensor, Tensor | None] | None:
        """None: the frame does not fit there."""
        try:
            with inference():
                moved = None if alpha is None else alpha.to(self._device)
                return enhance(self._upscaler, pixels.to(self._device), moved, finish, progress=progress)
        except (MemoryError, MemoryLimitError):
            host.warn(f"Whole frames do not fit on {self._device}; they are resized on the CPU.")
            self._device = torch.device("cpu")
            return None


def working_memory(upscaler: Upscaler, sizing: Sizing, frame: Sequence[int], mask: Tensor | None = None) -> int:
    """Bytes of main memory that a frame [H,W,C], or the masks, take at most while they are enlarged."""
    height, width, channels = frame
    work = Work(
        height=height,
        width=width,
        colours=1 if channels < 3 else 3,
        alpha=mask is not None or channels in (2, 4),
        scale=upscaler.scale,
        result_height=sizing.height,
        result_width=sizing.width,
        post_processing=False,
        tile=upscaler.tile,
    )
    foreign = isinstance(upscaler.engine, SpandrelEngine)
    features = foreign_memory(min(upscaler.tile, max(height, width)), upscaler.scale) if foreign else 0
    masks = 0 if mask is None else 3 * 4 * mask.shape[:-2].numel() * max(sizing.height * sizing.width, height * width)
    return work.bytes_needed() + features + masks
