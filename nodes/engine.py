"""Makes the core's upscaler from any UPSCALE_MODEL, TinySR's or another network's."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.engines import Engine, RunOptions, TorchEngine, Upscaler, inference, load_engine
from ..tinysr_core.errors import RequestError
from ..tinysr_core.model import Checkpoint, TinySR, cache_folder, weights_digest
from . import host
from .interop import tinysr_network

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
FOREIGN_HALO = 32
"""Border of a tile of a network whose reach is unknown: the overlap of ComfyUI's stock node."""
FOREIGN_TILE = 512
"""Tile of a network whose need of memory is unknown, as in ComfyUI's stock node."""
WHOLE_PICTURE = 1 << 20
"""A tile larger than any picture."""
TINYSR_MEMORY = 1 << 30
"""More bytes than TinySR needs for a tile."""
FOREIGN_MEMORY = 512 * 512 * 3 * 4 * 384
"""Bytes per unit of scale, as ComfyUI's stock node estimates them."""


class SpandrelEngine:
    """Runs a network described by spandrel as an `Engine` of the core.

    The network is shared with other nodes: it is not moved or cast; where that is needed, a copy is.

    Raises:
        RequestError: the network is not of a kind, or cannot run in a precision, that is asked for.
    """

    only_enlarges = False  # it may clean pictures, too, or do nothing else
    pool_halo = None
    tile = FOREIGN_TILE

    def __init__(self, descriptor: Any, device: torch.device, precision: str) -> None:
        channels = descriptor.input_channels
        if channels not in (1, 3) or descriptor.output_channels != channels:
            raise RequestError(
                f"This upscale model turns {channels} channels into {descriptor.output_channels}; "
                "choose one from RGB to RGB or grey to grey."
            )
        self.scale: int = descriptor.scale
        self.halo = FOREIGN_HALO
        self._grey = channels == 1
        self._device = device
        self._dtype = _dtype(descriptor, precision)
        self._descriptor = _on(descriptor, device, self._dtype)

    def moved(self, image: Tensor) -> Tensor:
        with inference():
            return image.to(self._device)

    def run(self, image: Tensor, gate: None) -> Tensor:
        with inference():
            source = image.to(self._device, self._dtype)
            parts = source.split(1, dim=1) if self._grey else [source]
            return torch.cat([self._descriptor(part) for part in parts], dim=1).to(image.device, torch.float32)


class CpuEngine:
    """What runs a TinySR network on the CPU: OpenVINO if it is installed, else torch.

    A node keeps one, since compiling a network takes longer than running it on a small picture.
    """

    def __init__(self) -> None:
        self._made: tuple[str, str, Engine] | None = None

    def get(self, network: TinySR, precision: str) -> Engine:
        """The engine for the weights that `network` has now; other nodes may have changed them."""
        state = network.state_dict()
        tensors = {name: tensor.to("cpu", torch.float32, copy=True).numpy() for name, tensor in state.items()}
        digest = weights_digest(tensors)
        if self._made is None or self._made[:2] != (digest, precision):
            checkpoint = Checkpoint(Path(), network.config, {}, tensors, digest)
            engine = load_engine(checkpoint, device="cpu", precision=precision, cache=cache_folder())
            self._made = digest, precision, engine
        return self._made[2]


def upscaler_for(model: Any, device: torch.device, precision: str, tile: int | None, cpu_engine: CpuEngine) -> Upscaler:
    """An upscaler that runs an UPSCALE_MODEL; `cpu_engine` is what the node keeps.

    Raises:
        RequestError: it is not a network from picture to picture, or the precision is not possible.
    """
    if not (hasattr(model, "model") and hasattr(model, "scale")):
        raise RequestError(
            f"This UPSCALE_MODEL is a {type(model).__name__}; use one from Load TinySR or Load Upscale Model."
        )
    network = tinysr_network(model.model)
    if network is not None:
        host.make_room(TINYSR_MEMORY, device)
        if device.type == "cpu" and precision in ("auto", "fp32"):
            return Upscaler(cpu_engine.get(network, precision), tile, RunOptions(device="cpu", tile=tile).follower)
        own = host.precision(precision, device)
        follower = RunOptions(engine="torch", device=str(device), precision=own, tile=tile).follower
        return Upscaler(TorchEngine(network, str(device), own), tile, follower)
    host.make_room(FOREIGN_MEMORY * model.scale, device)
    whole = getattr(getattr(model, "tiling", None), "name", None) == "INTERNAL"  # it cuts its own tiles
    return Upscaler(SpandrelEngine(model, device, precision), WHOLE_PICTURE if whole else tile)


def _dtype(descriptor: Any, precision: str) -> torch.dtype:
    if precision == "fp16" and descriptor.supports_half:
        return torch.float16
    if precision == "bf16" and descriptor.supports_bfloat16:
        return torch.bfloat16
    if precision in ("fp16", "bf16"):
        raise RequestError(f"This upscale model cannot run in {precision}; set the precision to auto or fp32.")
    return torch.float32


def _on(descriptor: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if descriptor.device == device and descriptor.dtype == dtype:
        return descriptor
    own = copy.copy(descriptor)
    vars(own).pop("patcher", None)  # ComfyUI's book-keeping of the shared network
    return copy.deepcopy(own).to(device=device, dtype=dtype)
