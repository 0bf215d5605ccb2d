"""Makes the core's upscaler from any UPSCALE_MODEL, whether it is TinySR's or another network's."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.engines import AutoUpscaler, Engine, RunOptions, TorchEngine, Upscaler, inference, load_engine
from ..tinysr_core.errors import RequestError
from ..tinysr_core.model import Checkpoint, TinySR, mixed, weights_digest
from . import host
from .interop import tinysr_network

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
DEVICE_TOOLTIP = "auto: the device that ComfyUI uses. cpu: keeps the graphics card free."
FOREIGN_HALO = 32
"""Border around each tile of a network whose reach is unknown. ComfyUI's stock node overlaps tiles by as much."""
FOREIGN_TILE = 512
"""Tile of a network whose memory use is unknown. ComfyUI's stock node uses the same."""
CPU_TILE = 512
"""Largest tile on a CPU. The node checks for Cancel after each tile, which takes less than a second on two cores."""
SMALLEST_FOREIGN_TILE = 128
"""Smallest tile that is chosen when memory is short on a CPU."""
WHOLE_PICTURE = 1 << 20
"""A tile larger than any picture."""
TINYSR_MEMORY = 1 << 30
"""Upper bound of the bytes that TinySR needs for a tile."""
FOREIGN_PIXEL_MEMORY = 3 * 4 * 384
"""Bytes for each pixel of a tile and unit of scale. ComfyUI's stock node makes the same estimate."""


def run_widgets() -> dict[str, Any]:
    """The widgets that say how a network is run, in ComfyUI's format."""
    return {
        "tile": (
            "INT",
            {"default": 0, "min": 0, "max": 8192, "step": 32}
            | {
                "tooltip": "Side of a tile, in pixels of the input. 0 chooses it for you. Smaller tiles need less "
                "memory. With TinySR, the result is the same for any tile."
            },
        ),
        "device": (host.devices(), {"tooltip": DEVICE_TOOLTIP}),
        "precision": (
            list(PRECISIONS),
            {
                "tooltip": "auto: the fastest precision that is safe on the device. fp32 is exact. fp16 and bf16 need "
                "less memory."
            },
        ),
    }


class SpandrelEngine:
    """Runs a network that spandrel describes, as an `Engine` of the core.

    Other nodes share the network, so it is never moved or cast; a copy is made where that is needed. If it fails in
    half precision although it claims to support it, it runs in fp32.

    Raises:
        RequestError: the network does not map pictures to pictures, or cannot run in the precision asked for.
    """

    only_enlarges = False  # it may also remove noise, or do only that
    pool_halo = None
    parallel = 1
    border = 0  # as ComfyUI's stock node runs it
    fallback = None  # `run` has its own
    tile = FOREIGN_TILE

    def __init__(self, descriptor: Any, device: torch.device, precision: str) -> None:
        channels = descriptor.input_channels
        if channels not in (1, 3) or descriptor.output_channels != channels:
            raise RequestError(
                f"This upscale model turns {channels} channels into {descriptor.output_channels}. "
                "Choose one that turns RGB into RGB or grey into grey."
            )
        self.scale: int = descriptor.scale
        self.halo = FOREIGN_HALO
        self.tiles_itself = getattr(getattr(descriptor, "tiling", None), "name", None) == "INTERNAL"
        self.takes_batches = device.type != "cpu" and not self.tiles_itself
        self._grey = channels == 1
        self._device = device
        self._dtype = _dtype(descriptor, precision)
        self._shared = descriptor
        self._descriptor = _on(descriptor, device, self._dtype)

    def moved(self, image: Tensor) -> Tensor:
        try:
            with inference():
                return image.to(self._device)
        except MemoryError:
            return image  # `run` moves each tile

    def run(self, image: Tensor, gate: None) -> Tensor:
        if self._dtype == torch.float32:
            return self._run(image)
        try:
            result = self._run(image)
            if bool(result.isfinite().all()):
                return result
            trouble = "its result is not finite"
        except RuntimeError as error:  # a layer does not support it; running out of memory is a MemoryError
            trouble = str(error).strip().splitlines()[0]
        name = str(self._dtype).removeprefix("torch.")
        host.warn(f"This upscale model fails in {name} ({trouble}); it runs in fp32.")
        self._dtype = torch.float32
        self._descriptor = _on(self._shared, self._device, self._dtype)
        return self._run(image)

    def _run(self, image: Tensor) -> Tensor:
        with inference(), _cancellable(self._descriptor.model):
            source = image.to(self._device, self._dtype)
            parts = source.split(1, dim=1) if self._grey else [source]
            return torch.cat([self._descriptor(part) for part in parts], dim=1).to(image.device, torch.float32)


class CpuEngine:
    """The engines that run TinySR networks on the CPU: OpenVINO if it is installed, else torch.

    Each node keeps one of these, since compiling a network takes longer than running it on a small picture.
    """

    MOST = 5
    """Engines that are kept: a network may be run with and without cleaning, and be followed by another."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Engine] = {}

    def get(self, network: TinySR, precision: str) -> Engine:
        """The engine for the current weights of `network`. Other nodes may have changed them."""
        state = network.state_dict()
        tensors = {name: tensor.to("cpu", torch.float32, copy=True).numpy() for name, tensor in state.items()}
        digest = weights_digest(tensors)
        key = digest, precision
        if key not in self._made:
            checkpoint = Checkpoint(Path(), network.config, {}, tensors, digest)
            engine = load_engine(checkpoint, device="cpu", precision=precision, cache=host.cache_folder())
            if len(self._made) == self.MOST:
                del self._made[next(iter(self._made))]
            self._made[key] = engine
        return self._made[key]


def upscaler_for(model: Any, device: torch.device, precision: str, tile: int | None, cpu_engine: CpuEngine) -> Upscaler:
    """An upscaler that runs an UPSCALE_MODEL with tiles of side `tile` (None: what suits the network).

    Raises:
        RequestError: the model does not map pictures to pictures, or the precision is not possible.
    """
    if not (hasattr(model, "model") and hasattr(model, "scale")):
        raise RequestError(
            f"This UPSCALE_MODEL is a {type(model).__name__}. Connect Load TinySR or Load Upscale Model."
        )
    network = tinysr_network(model.model)
    if network is not None:
        host.make_room(TINYSR_MEMORY, device)

        def load(clean: float) -> Upscaler:
            blended = _blended(network, photo, clean) if clean and photo is not None else network
            if device.type == "cpu" and precision in ("auto", "fp32"):
                engine, options = cpu_engine.get(blended, precision), RunOptions(device="cpu")
            else:
                own = host.precision(precision, device)
                engine = TorchEngine(blended, str(device), own)
                options = RunOptions(engine="torch", device=str(device), precision=own)
            side = tile or (min(engine.tile, CPU_TILE) if device.type == "cpu" else None)
            return Upscaler(engine, side, replace(options, tile=side).follower)

        photo = getattr(model, "tinysr_photo", None)
        return load(0) if photo is None else AutoUpscaler(load)
    engine = SpandrelEngine(model, device, precision)
    if engine.tiles_itself:
        tile = WHOLE_PICTURE
    elif tile is None and device.type == "cpu":
        tile = _affordable_tile(model.scale)
    host.make_room(foreign_memory(FOREIGN_TILE, model.scale), device)
    return Upscaler(engine, tile)


def weights_key(model: Any) -> tuple[str, str | None]:
    """Digests of the weights of an UPSCALE_MODEL, and of those that may be blended in."""
    state = model.model.state_dict()
    own = weights_digest({name: tensor.to("cpu", torch.float32).numpy() for name, tensor in state.items()})
    photo = getattr(model, "tinysr_photo", None)
    return own, None if photo is None else photo.sha256


def foreign_memory(tile: int, scale: int) -> int:
    """Bytes that a network of unknown structure may need for a tile of that side."""
    return FOREIGN_PIXEL_MEMORY * tile**2 * scale


def _affordable_tile(scale: int) -> int:
    """Side of the tiles for a network of unknown structure on the CPU.

    Linux kills a process that uses too much memory instead of reporting an error, so the tile must fit from the start.
    """
    tile, free = FOREIGN_TILE, host.free_memory(torch.device("cpu"))
    while tile > SMALLEST_FOREIGN_TILE and 2 * foreign_memory(tile, scale) > free:
        tile //= 2
    return tile


@contextmanager
def _cancellable(network: torch.nn.Module) -> Generator[None]:
    """Checks for Cancel before each layer, since a tile of a large network takes minutes on a CPU."""
    hooks = [layer.register_forward_pre_hook(lambda *_: host.check_cancelled()) for layer in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _blended(network: TinySR, photo: Checkpoint, clean: float) -> TinySR:
    """A new network: the weights of `network`, mixed with the share `clean` of those of `photo`."""

    def blend(name: str, own: Tensor) -> Tensor:
        weights = own.to("cpu", torch.float32).numpy()
        return torch.from_numpy(mixed([(weights, 1 - clean), (photo.tensors[name], clean)])).to(own)

    tensors = {name: blend(name, own) for name, own in network.state_dict().items()}
    return TinySR.from_tensors(network.config, tensors)


def _dtype(descriptor: Any, precision: str) -> torch.dtype:
    if precision == "fp16" and descriptor.supports_half:
        return torch.float16
    if precision == "bf16" and descriptor.supports_bfloat16:
        return torch.bfloat16
    if precision in ("fp16", "bf16"):
        raise RequestError(f"This upscale model cannot run in {precision}. Set the precision to auto or fp32.")
    return torch.float32


def _on(descriptor: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if descriptor.device == device and descriptor.dtype == dtype:
        return descriptor
    own = copy.copy(descriptor)
    vars(own).pop("patcher", None)  # it manages the memory of the shared network
    return copy.deepcopy(own).to(device=device, dtype=dtype)
