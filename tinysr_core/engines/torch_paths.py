"""The ways in which torch can run a network on a device, and the trial that each passes before it is used.

A fast path may be missing on a device, fail there, or be wrong: fused kernels, half precision, a memory layout. Each is
tried on one small picture and compared with the network as it is written, in fp32 on the CPU. The first one that comes
close runs the network; that one itself comes last.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ..model import TinySR, bicubic_skip
from .torch_cpu import run_in_bands
from .torch_cuda import CudnnNetwork, padded

CPU = torch.device("cpu")
TRIAL_SIDE = 32
"""Side of the picture that paths are tried on, in LR pixels."""
TOLERANCES = {torch.float32: 5e-4, torch.float16: 0.01, torch.bfloat16: 0.05}
"""Largest error of what a network adds to the bicubic enlargement, as a share of that. With shipped weights, fp16 makes
0.0015 of it (TF32 has as many digits), bf16 0.016, and a single bias that is missing at least 0.06."""
ROUNDING = 0.01
"""The least that a network is taken to add, as a share of the result: the enlargement has rounding errors, too."""
BANDED_TILE, WHOLE_TILE = 1024, 512
"""Tiles that run in bands of rows, where a strip of each thread has a halo of its own, and 220 MB are held; tiles whose
features are held as a whole, 300 MB of them in fp32."""
RESULT_SIDE = 2048
"""Side of a tile's result on tensor cores: at x2, 500 MB of features and results, and 5 % of the work is halo."""

Run = Callable[[Tensor, Tensor | None], Tensor]
"""LR picture [1,3,h,w] and gate [1,C] or None -> SR picture [1,3,s*h,s*w], as `TinySR.forward`."""


@dataclass(frozen=True)
class TorchPath:
    """A way to run a network."""

    name: str
    device: torch.device
    dtype: torch.dtype
    """Of the convs."""
    layout: torch.memory_format
    model: TinySR = field(repr=False)
    """The network there, in that type and layout."""
    run: Run = field(repr=False)
    pooled: Callable[[Tensor, slice, slice], Tensor] = field(repr=False)
    """See `TinySR.pooled`."""
    tile: int
    """Side of its tiles in LR pixels."""


def choose_path(model: TinySR, device: torch.device, dtype: torch.dtype) -> TorchPath:
    """The fastest path for `model` that passes its trial. What is wrong with the others is told in the log."""
    trial = None if (device.type, dtype) == ("cpu", torch.float32) else _Trial(model)
    for path in _paths(model, device, dtype):
        trouble = trial.trouble(path) if trial and (path.device.type, path.dtype) != ("cpu", torch.float32) else None
        if trouble is None:
            return path
        logging.getLogger(__name__).warning("%s is not used here: %s.", path.name, trouble)
    raise AssertionError("fp32 on the CPU needs no trial")


def _paths(model: TinySR, device: torch.device, dtype: torch.dtype) -> Iterator[TorchPath]:
    """Fastest first, as they are asked for; then in fp32, then on the CPU."""
    name = f"{str(dtype).removeprefix('torch.')} on {device}"
    last, fast = torch.contiguous_format, torch.channels_last  # channels-last is faster on CPUs and on tensor cores
    if device.type == "cpu":
        placed = _placed(model, device, dtype, fast)
        run = partial(run_in_bands, placed)  # features stay in the cache
        yield TorchPath(name, device, dtype, fast, placed, run, placed.pooled, BANDED_TILE)
    else:
        on_tensor_cores = is_cuda(device) and dtype != torch.float32
        tile = RESULT_SIDE // max(2, model.config.scale) if on_tensor_cores else WHOLE_TILE
        placed = _placed(padded(model) if on_tensor_cores else model, device, dtype, fast)
        if is_cuda(device):
            cudnn = CudnnNetwork(placed, fused=on_tensor_cores)
            yield TorchPath(f"{name} with cuDNN", device, dtype, fast, placed, cudnn, cudnn.pooled, tile)
        yield TorchPath(name, device, dtype, fast, placed, placed, placed.pooled, tile)
        placed = _placed(model, device, dtype, last)
        yield TorchPath(f"{name}, channels first", device, dtype, last, placed, placed, placed.pooled, tile)
    if dtype != torch.float32:
        yield from _paths(model, device, torch.float32)
    elif device.type != "cpu":
        yield from _paths(model, CPU, torch.float32)


def is_cuda(device: torch.device) -> bool:
    """Whether it is a GPU of NVIDIA's, or of AMD's, which torch calls so too."""
    return device.type == "cuda"


class _Trial:
    """The picture that paths are tried on, and what the network as it is written makes of it."""

    def __init__(self, model: TinySR) -> None:
        noise = torch.arange(3 * TRIAL_SIDE**2).mul(0.618034).frac()
        self._image = noise.reshape(1, 3, TRIAL_SIDE, TRIAL_SIDE)
        with torch.no_grad():
            self._right = _placed(model, CPU, torch.float32, torch.contiguous_format)(self._image)
            self._added = (self._right - bicubic_skip(self._image, model.config.scale)).norm()

    def trouble(self, path: TorchPath) -> str | None:
        """What is wrong with a path; None if it may be used."""
        try:
            with torch.no_grad():
                image = self._image.to(path.device, memory_format=path.layout)
                result = path.run(image, None).float().cpu()
        except (RuntimeError, AttributeError, MemoryError) as error:  # AttributeError: an older torch
            return str(error).strip().splitlines()[0].rstrip(".")
        error, allowed = self.error(result), TOLERANCES[path.dtype]
        return None if error <= allowed else f"its result is wrong (off by {error:.2g}, and {allowed:.2g} is allowed)"

    def error(self, result: Tensor) -> float:
        """How far a result is from the right one, as a share of what the network adds; NaN where it has NaN."""
        least = ROUNDING * self._right.norm()  # a network may add nothing
        return float((result - self._right).norm() / (self._added + least))


def _placed(model: TinySR, device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> TinySR:
    """`model` with its convs in `dtype` and `layout`; itself, where it is so already."""
    own = model.state_dict()
    placed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        kind = torch.float32 if name.startswith("attention.") else dtype
        placed[name] = tensor.to(device, kind, memory_format=layout if tensor.ndim == 4 else torch.preserve_format)
    shared = all(placed[name] is own[name] for name in own)
    return model if shared else TinySR.from_tensors(model.config, placed)
