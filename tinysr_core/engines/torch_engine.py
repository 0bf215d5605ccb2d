"""Run a network with torch, on a CPU or a GPU."""

import logging
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import RequestError
from ..model import Checkpoint, TinySR
from ..util import Image
from .engine import BORDER, Gate
from .tiling import Window
from .torch_paths import choose_path, is_cuda

TorchPrecision = Literal["auto", "fp32", "fp16", "bf16"]
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "unable to find an engine")
"""Parts of the messages of CUDA, XPU, the CPU and cuDNN about too little memory."""
PROBE_BATCH_PIXELS = 1 << 18
"""LR pixels of probe windows in one batch."""
MAX_PINNED_BYTES = 1 << 28
"""Largest tile that is copied through pinned memory, which torch never frees."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """See `Engine`. `path` is how the network runs.

    Everything except fp32 on the CPU is tested first (see `torch_paths`). If a device or a precision gives wrong
    results, the network falls back to fp32 or to the CPU, which is logged.

    Args:
        model: the network. It is never changed. If its weights are already on the device, in the precision and
            channels-last, they are shared; otherwise they are copied. In half precision on CUDA, channels are padded to
            a multiple of 8 (see `torch_cuda`).
        device: auto, cpu, or a device name of torch.
        precision: the precision of the convs.

    Raises:
        RequestError: the device is not available, or does not support the precision.
    """

    only_enlarges = True
    border = BORDER
    parallel = 1  # torch's own threads share a tile, and work of a GPU is queued

    def __init__(self, model: TinySR, device: str = "auto", precision: TorchPrecision = "auto") -> None:
        place = _device(device)
        self.scale = model.config.scale
        self.halo = model.config.halo
        self.pool_halo = model.config.trunk_halo if model.config.attention else None
        self.path = choose_path(model, place, _dtype(precision, place))
        self.tile = self.path.tile
        self._source = model
        self._fallback: TorchEngine | None = None

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, device: str = "auto", precision: TorchPrecision = "auto"
    ) -> "TorchEngine":
        """The engine for a checkpoint."""
        tensors = {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}
        return cls(TinySR.from_tensors(checkpoint.config, tensors), device, precision)

    @property
    def takes_batches(self) -> bool:
        return self.path.device.type != "cpu"

    @property
    def fallback(self) -> "TorchEngine | None":
        half = self.path.dtype != torch.float32
        if self._fallback is None and (half or self.path.device.type != "cpu"):
            self._fallback = TorchEngine(self._source, str(self.path.device) if half else "cpu", "fp32")
        return self._fallback

    # On a GPU, the methods below only queue work and never wait for a result.

    def moved(self, image: Any) -> Any:
        if not is_cuda(self.path.device):
            return image
        try:
            with inference():
                return self._tensor(image)
        except MemoryError:
            return image  # `run` copies each tile

    def run(self, image: Image, gate: Gate | None) -> Image:
        try:
            with inference():
                return _like(image, self.path.run(self._tensor(image), self._fitting(gate)))
        except RuntimeError as error:
            if self.fallback is None:
                raise
            reason = str(error).strip().splitlines()[0]
            logging.getLogger(__name__).warning("%s failed; the tile is repeated in fp32: %s", self.path.name, reason)
            return self.fallback.run(image, gate)

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        model = self.path.model
        assert model.attention is not None
        height, width = image.shape[2:]
        alike: defaultdict[tuple[Window, torch.Size], list[Tensor]] = defaultdict(list)
        with inference():
            for core in cores:
                seen = core.grown(model.config.trunk_halo, height, width)
                window = self._tensor(image[seen.index])
                alike[core.within(seen), window.shape].append(window)
            total: Any = 0
            for (inner, shape), windows in alike.items():
                batch_size = max(1, PROBE_BATCH_PIXELS // shape[2:].numel())
                for i in range(0, len(windows), batch_size):
                    batch = torch.cat(windows[i : i + batch_size])
                    pooled = self.path.pooled(batch, inner.rows.slice, inner.columns.slice)
                    total = total + pooled.sum(0, keepdim=True) * inner.area
            return model.attention(total / sum(core.area for core in cores))

    def _tensor(self, image: Any) -> Tensor:
        tensor: Tensor = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
        return tensor.to(self.path.device, torch.float32, memory_format=self.path.layout)

    def _fitting(self, gate: Tensor | None) -> Tensor | None:
        """The gate for the channels of this network, on its device. The gate of another engine may have padded
        channels."""
        return gate if gate is None else gate[:, : self.path.model.config.channels].to(self.path.device)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a GPU or a CPU supports bf16 in hardware. Elsewhere it is emulated, and slower than fp32."""
    if is_cuda(device):  # torch's own function includes emulation, and is about the current device
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # not in torch before 2.6
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def good_at_fp16(device: torch.device) -> bool:
    """Whether a CUDA device is fast and correct in fp16.

    Devices before Volta are slow in it. On the GTX 16 series, cuDNN's convolutions may give NaN; ComfyUI avoids fp16
    there too.
    """
    return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)


def accelerator() -> str | None:
    """The device type of the GPU that torch can use on this machine; None if there is none."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "xpu" if torch.xpu.is_available() else None


def _device(name: str) -> torch.device:
    if name == "auto":
        name = accelerator() or "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"The device {name!r} cannot be used here ({reason}); choose auto or cpu.") from error


def _dtype(precision: TorchPrecision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        if is_cuda(device):
            precision = "fp16" if good_at_fp16(device) else "fp32"
        else:
            precision = "bf16" if computes_in_bf16(device) else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise RequestError("fp16 is slow and inexact on a CPU; choose auto, fp32 or bf16.")
    return DTYPES[precision]


@contextmanager
def inference() -> Generator[None]:
    """Disable gradients, and turn torch's errors about too little memory into MemoryError."""
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error from torch means that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def _like(image: Image, result: Any) -> Image:
    return result.cpu().numpy() if isinstance(image, np.ndarray) else result.to(image.device)


def start_copy(tile: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start to copy a tile from a CUDA device to the host.

    Returns:
        The copy, and the event after which it is complete; None if it is complete already.

    Raises:
        MemoryError: there is too little memory.
    """
    with inference():
        if tile.nbytes > MAX_PINNED_BYTES:
            return tile.cpu(), None
        try:
            copy = torch.empty(tile.shape, dtype=tile.dtype, pin_memory=True)
        except RuntimeError:  # pinned memory is limited, for example on WSL
            return tile.cpu(), None
        copy.copy_(tile, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(tile.device))
        return copy, copied
