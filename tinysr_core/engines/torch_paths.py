"""Fast paths of torch for a device, and the trial that each must pass before it is used.

A fast path (fused kernels, half precision, a memory layout) may be missing on a device, fail there, or give wrong
results. Each is tested on a small picture against the plain network in fp32 on the CPU. The first path that is close
enough runs the network. The plain network is the last one in the list.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ..model import TinySR, bicubic_skip
from .torch_cpu import pooled_in_strips, run_in_bands
from .torch_cuda import CudnnNetwork, padded

CPU = torch.device("cpu")
TRIAL_SIDE = 32
"""Side of the picture for the trials, in LR pixels."""
TOLERANCES = {torch.float32: 5e-4, torch.float16: 0.01, torch.bfloat16: 0.05}
"""Largest error of the detail that a network adds to bicubic, relative to that detail. With shipped weights, fp16 has
an error of 0.0015 (TF32 is similar), bf16 0.016, and one missing bias at least 0.06."""
ROUNDING = 0.01
"""Smallest detail to compare with, relative to the result, because bicubic has rounding errors too."""
BANDED_TILE, WHOLE_TILE = 1024, 512
"""Side in LR pixels of tiles that run in bands of rows (220 MB), and of tiles with all features in memory (300 MB in
fp32)."""
RESULT_SIDE = 2048
"""Side of the result of a tile on tensor cores. At ×2, features and result take 500 MB, and 5 % of the work is halo."""

Run = Callable[[Tensor, Tensor | None], Tensor]
"""LR picture [1,3,h,w] and gate [1,C] or None -> SR picture [1,3,s*h,s*w], as `TinySR.forward`."""


@dataclass(frozen=True)
class TorchPath:
    """One way to run a network."""

    name: str
    device: torch.device
    dtype: torch.dtype
    """The dtype of the convs."""
    layout: torch.memory_format
    model: TinySR = field(repr=False)
    """The network on that device, in that dtype and layout."""
    run: Run = field(repr=False)
    pooled: Callable[[Tensor, slice, slice], Tensor] = field(repr=False)
    """See `TinySR.pooled`."""
    tile: int
    """Default side of a tile in LR pixels."""


def choose_path(model: TinySR, device: torch.device, dtype: torch.dtype) -> TorchPath:
    """The fastest path for `model` that passes its trial. The failures of others are logged."""
    trial = None if (device.type, dtype) == ("cpu", torch.float32) else _Trial(model)
    for path in _paths(model, device, dtype):
        failure = trial.failure(path) if trial and (path.device.type, path.dtype) != ("cpu", torch.float32) else None
        if failure is None:
            return path
        logging.getLogger(__name__).warning("%s is not used here: %s.", path.name, failure)
    raise AssertionError("fp32 on the CPU needs no trial")


def _paths(model: TinySR, device: torch.device, dtype: torch.dtype) -> Iterator[TorchPath]:
    """All paths: first those of the device and dtype, fastest first; then those in fp32; then the CPU."""
    name = f"{str(dtype).removeprefix('torch.')} on {device}"
    last, fast = torch.contiguous_format, torch.channels_last  # channels-last is faster on CPUs and on tensor cores
    if device.type == "cpu":
        placed = _placed(model, device, dtype, fast)
        run = partial(run_in_bands, placed)  # features stay in the cache
        yield TorchPath(name, device, dtype, fast, placed, run, partial(pooled_in_strips, placed), BANDED_TILE)
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
    """Whether the device is a GPU of NVIDIA, or of AMD, which torch also calls cuda."""
    return device.type == "cuda"


class _Trial:
    """A picture, and the result of the plain network, to compare paths with."""

    def __init__(self, model: TinySR) -> None:
        noise = torch.arange(3 * TRIAL_SIDE**2).mul(0.618034).frac()
        self._image = noise.reshape(1, 3, TRIAL_SIDE, TRIAL_SIDE)
        with torch.no_grad():
            self._expected = _placed(model, CPU, torch.float32, torch.contiguous_format)(self._image)
            self._detail = (self._expected - bicubic_skip(self._image, model.config.scale)).norm()

    def failure(self, path: TorchPath) -> str | None:
        """Why a path fails; None if it passes."""
        try:
            with torch.no_grad():
                image = self._image.to(path.device, memory_format=path.layout)
                result = path.run(image, None).float().cpu()
        except (RuntimeError, AttributeError, MemoryError) as error:  # AttributeError: missing in an older torch
            return str(error).strip().splitlines()[0].rstrip(".")
        error, allowed = self.error(result), TOLERANCES[path.dtype]
        return None if error <= allowed else f"its error of {error:.2g} exceeds {allowed:.2g}"

    def error(self, result: Tensor) -> float:
        """The error of a result, relative to the detail that the network adds; NaN if the result has NaN."""
        least = ROUNDING * self._expected.norm()  # for networks that add nothing
        return float((result - self._expected).norm() / (self._detail + least))


def _placed(model: TinySR, device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> TinySR:
    """`model` on `device`, with its convs in `dtype` and `layout`; the same object if nothing changes."""
    own = model.state_dict()
    placed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        kind = torch.float32 if name.startswith("attention.") else dtype
        placed[name] = tensor.to(device, kind, memory_format=layout if tensor.ndim == 4 else torch.preserve_format)
    shared = all(placed[name] is own[name] for name in own)
    return model if shared else TinySR.from_tensors(model.config, placed)
