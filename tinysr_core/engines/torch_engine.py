"""Runs a network with torch, on the CPU or a GPU."""

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
"""How CUDA, XPU, the CPU and cuDNN, for want of memory to work in, say it."""
PROBED_AT_ONCE = 1 << 18
"""LR pixels that a GPU pools at once."""
MOST_PINNED = 1 << 28
"""Largest tile in bytes that goes through pinned memory: torch does not give it back."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """See `Engine`. `device` is auto, cpu, or what torch calls a device; `precision` is that of the convs.

    What is not plain fp32 on the CPU is tried first (see `torch_paths`): where a device or a precision gives wrong
    results, the network runs in fp32 or on the CPU, and the log says so. `path` says how it runs.

    `model` may be shared: it is used as it is where its weights are on that device, in that precision and
    channels-last, else a copy is. It is never changed. In half precision on CUDA it is a copy with aligned channels
    (see `torch_cuda`), unless they are aligned already.

    Raises:
        RequestError: the device is not there, or cannot run that precision.
    """

    only_enlarges = True
    border = BORDER

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
        """An engine that runs the network of a file."""
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

    # On a GPU the methods below only start the work, as torch does: nothing in them waits for a result.

    def moved(self, image: Any) -> Any:
        if not is_cuda(self.path.device):
            return image
        try:
            with inference():
                return self._tensor(image)
        except MemoryError:
            return image  # `run` moves each tile

    def run(self, image: Image, gate: Gate | None) -> Image:
        try:
            with inference():
                return _like(image, self.path.run(self._tensor(image), self._own(gate)))
        except RuntimeError as error:
            if self.fallback is None:
                raise
            reason = str(error).strip().splitlines()[0]
            logging.getLogger(__name__).warning("%s failed on a tile, which is done again: %s", self.path.name, reason)
            return self.fallback.run(image, gate)

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        model, device = self.path.model, self.path.device
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
                at_once = 1 if device.type == "cpu" else max(1, PROBED_AT_ONCE // shape[2:].numel())
                for i in range(0, len(windows), at_once):
                    batch = torch.cat(windows[i : i + at_once])
                    pooled = self.path.pooled(batch, inner.rows.slice, inner.columns.slice)
                    total = total + pooled.sum(0, keepdim=True) * inner.area
            return model.attention(total / sum(core.area for core in cores))

    def _tensor(self, image: Any) -> Tensor:
        tensor: Tensor = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
        return tensor.to(self.path.device, torch.float32, memory_format=self.path.layout)

    def _own(self, gate: Tensor | None) -> Tensor | None:
        """A gate for the channels of this engine's network; another engine's may have more, which are padding."""
        return gate if gate is None else gate[:, : self.path.model.config.channels].to(self.path.device)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a GPU or a CPU has arithmetic in bf16, which is faster than fp32 then; others imitate it, slowly."""
    if is_cuda(device):  # torch's own answer counts imitation, and is about the current device
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # torch before 2.6 does not tell
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def good_at_fp16(device: torch.device) -> bool:
    """Whether a CUDA device is faster in fp16 than in fp32, and right.

    Before Volta it is slow, and on the GTX 16 series cuDNN's convolutions may give NaN in it, for which ComfyUI
    distrusts it, too.
    """
    return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)


def accelerator() -> str | None:
    """The kind of GPU that torch can use here; None where it can use none."""
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
    """No gradients; torch's ways to say that memory ran out become MemoryError."""
    try:
        with torch.no_grad():
            yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch's means that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def _like(image: Image, result: Any) -> Image:
    return result.cpu().numpy() if isinstance(image, np.ndarray) else result.to(image.device)


def start_copy(tile: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy on the host of what a CUDA device is computing, and when it will be there; None: it is.

    Raises:
        MemoryError: there is too little.
    """
    with inference():
        if tile.nbytes > MOST_PINNED:
            return tile.cpu(), None
        try:
            copy = torch.empty(tile.shape, dtype=tile.dtype, pin_memory=True)
        except RuntimeError:  # Linux within Windows, for one, has little memory that can be pinned
            return tile.cpu(), None
        copy.copy_(tile, non_blocking=True)
        arrival = torch.cuda.Event()
        arrival.record(torch.cuda.current_stream(tile.device))
        return copy, arrival
