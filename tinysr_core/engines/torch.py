"""Runs a network with torch, on the CPU or a GPU."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..arrays import Image
from ..checkpoint import Checkpoint
from ..errors import RequestError
from ..model import TinySR
from ..tiling import Window
from . import Gate

Precision = Literal["auto", "fp32", "fp16", "bf16"]
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
"""How CUDA, XPU and the CPU say it."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """See `Engine`. `device` is auto, cpu, or what torch calls a device; `precision` is that of the convs.

    Raises:
        RequestError: the device is not there, or cannot run that precision.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", precision: Precision = "auto") -> None:
        self.device = _device(device)
        self.dtype = _dtype(precision, self.device)
        self.scale = checkpoint.config.scale
        self.halo = checkpoint.config.halo
        self.pool_halo = checkpoint.config.trunk_halo if checkpoint.config.attention else None
        with torch.device("meta"):  # no first weights are drawn: the checkpoint's take their place
            model = TinySR(checkpoint.config)
        state = {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}
        model.load_state_dict(state, assign=True)
        # Channels-last is the faster layout for these convs on CPUs (benchmarks) and on tensor cores.
        model = model.eval().requires_grad_(False).to(self.device, self.dtype)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
        if model.attention is not None:
            model.attention.float()
        self.model = model

    def run(self, image: Image, gate: Gate | None) -> Image:
        with inference():
            own = None if gate is None else torch.from_numpy(gate)[None].to(self.device)
            return _like(image, self.model(self._tensor(image), own))

    def pool(self, image: Any, core: Window) -> Gate:
        with inference():
            pooled = self.model.pooled(self._tensor(image), core.rows.slice, core.columns.slice)
        return pooled[0].cpu().numpy()

    def gate(self, pooled: Gate) -> Gate:
        assert self.model.attention is not None
        with inference():
            return self.model.attention(torch.from_numpy(pooled).to(self.device)).cpu().numpy()

    def _tensor(self, image: Any) -> Tensor:
        tensor: Tensor = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
        return tensor.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"The device {name!r} cannot be used here ({reason}); choose auto or cpu.") from error


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise RequestError("fp16 is slow and inexact on a CPU; choose auto, fp32 or bf16.")
    return DTYPES[precision]


@contextmanager
def inference() -> Generator[None]:
    """No gradients; torch's ways to say that memory ran out become MemoryError."""
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        if any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


def _like(image: Image, result: Any) -> Image:
    return result.cpu().numpy() if isinstance(image, np.ndarray) else result.to(image.device)
