"""What the two upscaling nodes share: frames to their size through any UPSCALE_MODEL, on the device of the network."""

import math
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.engines import Upscaler, beyond_scale, inference
from ..tinysr_core.errors import MemoryLimitError
from ..tinysr_core.pipeline import enhance
from ..tinysr_core.postprocess import ExactSize, Finish
from ..tinysr_core.util import Progress, Work
from . import host
from .engine import CpuEngine, SpandrelEngine, foreign_memory, upscaler_for
from .size import Sizing

RESIZES = ("cuda", "xpu", "mps")
"""Kinds of devices that resize frames; others leave it to the CPU."""
MODEL_INPUT = ("UPSCALE_MODEL", {"tooltip": "From Load TinySR or any other upscale model loader."})
"""How the nodes declare the input for the network."""


class UpscaleNode:
    """A node that upscales. It keeps its CPU engine from run to run."""

    CATEGORY = "image/upscaling"
    FUNCTION = "upscale"

    def __init__(self) -> None:
        self._cpu_engine = CpuEngine()

    def upscaler(self, model: Any, device: str, precision: str, tile: int) -> tuple[Upscaler, torch.device]:
        """What runs the model as the widgets say, and where.

        Raises:
            RequestError: the model, the device, the precision or the tile cannot be used.
        """
        target = host.device(device)
        return upscaler_for(model, target, precision, tile or None, self._cpu_engine), target


class Enlarge:
    """Brings frames to their size. A GPU also resizes them, which is faster, unless whole frames do not fit there."""

    def __init__(self, upscaler: Upscaler, device: torch.device) -> None:
        self._upscaler = upscaler
        self._device = device

    def __call__(
        self, pixels: Tensor, alpha: Tensor | None, sizing: Sizing, progress: Progress
    ) -> tuple[Tensor, Tensor | None]:
        """Pixels [n,1|3,H,W] and alpha [n,1,H,W] as the result has them; they may lie on the GPU."""
        finish = Finish(size=ExactSize(sizing.width, sizing.height))
        scale = self._upscaler.scale
        resized = (sizing.height, sizing.width) != (pixels.shape[2] * scale, pixels.shape[3] * scale)
        large = self._on_gpu(pixels, alpha, finish, progress) if resized and self._device.type in RESIZES else None
        if large is None:
            large = enhance(self._upscaler, pixels, alpha, finish, progress=progress)
        return sizing.crop(large[0]), None if large[1] is None else sizing.crop(large[1])

    def at_once(self, height: int, width: int, sizing: Sizing) -> int:
        """How many frames of that size to give at a time: as many as the network takes together, fewer if their results
        are larger than the network's own."""
        grows = sizing.height * sizing.width / (height * width * self._upscaler.scale**2)
        return max(1, int(self._upscaler.at_once(height, width) / max(1, grows)))

    def note(self, height: int, width: int, sizing: Sizing) -> str | None:
        """What to tell the user if the size is beyond the scale of the network."""
        factor = _factor(height, width, sizing)
        return beyond_scale(self._upscaler.steps(factor), factor) if factor > self._upscaler.scale else None

    def working_memory(self, height: int, width: int, channels: int, sizing: Sizing, mask: Tensor | None = None) -> int:
        """Bytes of main memory that the frames of one call, and the masks, take at most. Results are not counted."""
        upscaler = self._upscaler
        scale = math.prod(upscaler.steps(_factor(height, width, sizing)))
        work = Work(
            height=height,
            width=width,
            colours=1 if channels < 3 else 3,
            alpha=mask is not None or channels in (2, 4),
            scale=scale,
            result_height=sizing.height,
            result_width=sizing.width,
            post_processing=False,
            tile=upscaler.tile,
        )
        foreign = isinstance(upscaler.engine, SpandrelEngine)
        features = foreign_memory(min(upscaler.tile, max(height, width)), upscaler.scale) if foreign else 0
        largest = max(sizing.height * sizing.width, height * width)
        more = 4 * channels * (self.at_once(height, width, sizing) - 1) * (largest + height * width * scale**2)
        masks = 0 if mask is None else 3 * 4 * mask.shape[:-2].numel() * largest
        return work.bytes_needed() + features + more + masks

    def _on_gpu(
        self, pixels: Tensor, alpha: Tensor | None, finish: Finish, progress: Progress
    ) -> tuple[Tensor, Tensor | None] | None:
        """None: the frames do not fit there."""
        try:
            with inference():
                moved = None if alpha is None else alpha.to(self._device)
                return enhance(self._upscaler, pixels.to(self._device), moved, finish, progress=progress)
        except (MemoryError, MemoryLimitError):
            host.warn(f"Whole frames do not fit on {self._device}; they are resized on the CPU.")
            self._device = torch.device("cpu")
            return None


def _factor(height: int, width: int, sizing: Sizing) -> float:
    """How many times as large a frame becomes."""
    return max(sizing.height / height, sizing.width / width)
