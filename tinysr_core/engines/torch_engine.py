"""Runs a network with torch, on the CPU or a GPU."""

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import RequestError
from ..model import Checkpoint, TinySR
from ..util import Image
from .engine import BORDER, Gate
from .tiling import Window
from .torch_cpu import run_in_bands
from .torch_cuda import can_fuse, padded, run_fused

TorchPrecision = Literal["auto", "fp32", "fp16", "bf16"]
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "unable to find an engine")
"""How CUDA, XPU, the CPU and cuDNN, for want of memory to work in, say it."""
PROBED_AT_ONCE = 1 << 18
"""LR pixels that a GPU pools at once."""
BANDED_TILE, WHOLE_TILE = 1024, 512
"""Tiles that run in bands of rows, where a strip of each thread has a halo of its own, and 220 MB are held; tiles whose
features are held as a whole, 300 MB of them in fp32."""
RESULT_SIDE = 2048
"""Side of a tile's result on tensor cores: at x2, 500 MB of features and results, and 5 % of the work is halo."""
MOST_PINNED = 1 << 28
"""Largest tile in bytes that goes through pinned memory: torch does not give it back."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """See `Engine`. `device` is auto, cpu, or what torch calls a device; `precision` is that of the convs.

    `model` may be shared: it is used as it is where its weights are on that device, in that precision and
    channels-last, else a copy is. It is never changed. In half precision on CUDA it is a copy with aligned channels
    (see `tensor_cores`), unless they are aligned already.

    Raises:
        RequestError: the device is not there, or cannot run that precision.
    """

    only_enlarges = True
    border = BORDER

    def __init__(self, model: TinySR, device: str = "auto", precision: TorchPrecision = "auto") -> None:
        self.device = _device(device)
        self.dtype = _dtype(precision, self.device)
        self.scale = model.config.scale
        self.halo = model.config.halo
        self.pool_halo = model.config.trunk_halo if model.config.attention else None
        on_tensor_cores = self.device.type == "cuda" and self.dtype != torch.float32
        self.tile = RESULT_SIDE // max(2, self.scale) if on_tensor_cores else WHOLE_TILE
        self.model = _placed(padded(model) if on_tensor_cores else model, self.device, self.dtype)
        self._run: Callable[[Tensor, Tensor | None], Tensor] = self.model
        if self.device.type == "cpu":  # features should stay in the cache; a GPU wants as much work at once as there is
            self.tile, self._run = BANDED_TILE, partial(run_in_bands, self.model)
        elif on_tensor_cores and can_fuse(self.model):
            self._run = partial(run_fused, self.model)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, device: str = "auto", precision: TorchPrecision = "auto"
    ) -> "TorchEngine":
        """An engine that runs the network of a file."""
        tensors = {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}
        return cls(TinySR.from_tensors(checkpoint.config, tensors), device, precision)

    # On a GPU the methods below only start the work, as torch does: nothing in them waits for a result.

    def moved(self, image: Any) -> Any:
        if self.device.type != "cuda":
            return image
        try:
            with inference():
                return self._tensor(image)
        except MemoryError:
            return image  # `run` moves each tile

    def run(self, image: Image, gate: Gate | None) -> Image:
        with inference():
            return _like(image, self._run(self._tensor(image), gate))

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        assert self.model.attention is not None
        height, width = image.shape[2:]
        alike: defaultdict[tuple[Window, torch.Size], list[Tensor]] = defaultdict(list)
        with inference():
            for core in cores:
                seen = core.grown(self.model.config.trunk_halo, height, width)
                window = self._tensor(image[seen.index])
                alike[core.within(seen), window.shape].append(window)
            total: Any = 0
            for (inner, shape), windows in alike.items():
                at_once = 1 if self.device.type == "cpu" else max(1, PROBED_AT_ONCE // shape[2:].numel())
                for i in range(0, len(windows), at_once):
                    batch = torch.cat(windows[i : i + at_once])
                    pooled = self.model.pooled(batch, inner.rows.slice, inner.columns.slice)
                    total = total + pooled.sum(0, keepdim=True) * inner.area
            return self.model.attention(total / sum(core.area for core in cores))

    def _tensor(self, image: Any) -> Tensor:
        tensor: Tensor = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
        return tensor.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)


def _placed(model: TinySR, device: torch.device, dtype: torch.dtype) -> TinySR:
    """`model` with its convs in `dtype` and channels-last, the faster layout on CPUs and on tensor cores."""
    own = model.state_dict()
    placed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        tensor = tensor.to(device, torch.float32 if name.startswith("attention.") else dtype)
        placed[name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    shared = all(placed[name] is own[name] for name in own)
    return model if shared else TinySR.from_tensors(model.config, placed)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a GPU or a CPU has arithmetic in bf16, which is faster than fp32 then; others imitate it, slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()  # torch before 2.6 does not tell
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def good_at_fp16(device: torch.device) -> bool:
    """Whether a CUDA device is faster in fp16 than in fp32, and right.

    Before Volta it is slow, and on the GTX 16 series cuDNN's convolutions may give NaN in it, for which ComfyUI
    distrusts it, too.
    """
    return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"The device {name!r} cannot be used here ({reason}); choose auto or cpu.") from error


def _dtype(precision: TorchPrecision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        if device.type == "cuda":
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
        if any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


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
