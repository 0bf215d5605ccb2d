"""TinySR as an architecture of spandrel, so that ComfyUI's stock nodes and other packs can run its checkpoints.

spandrel comes with ComfyUI but may be missing or broken. TinySR's own nodes work without it.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..tinysr_core.engines import TorchEngine
from ..tinysr_core.errors import CheckpointError
from ..tinysr_core.model import Checkpoint, ModelConfig, TinySR
from ..tinysr_core.util import crop_mirrored
from . import host

if TYPE_CHECKING:
    from spandrel import Architecture, ImageModelDescriptor

ARCHITECTURE_ID = "TinySR"


@dataclass(frozen=True)
class BareModel:
    """Replaces spandrel's descriptor if spandrel is missing. Only TinySR's own nodes understand it."""

    model: nn.Module
    scale: int
    tinysr_photo: Checkpoint | None = None


def register_architecture() -> None:
    """Teach the stock *Load Upscale Model* to read TinySR checkpoints, if ComfyUI has imported spandrel."""
    if "spandrel" not in sys.modules:
        return
    try:
        from spandrel import MAIN_REGISTRY, ArchSupport

        MAIN_REGISTRY.add(ArchSupport.from_architecture(_architecture()), ignore_duplicates=True)
    except Exception as error:  # a broken or a future spandrel must not break the pack
        host.warn(f"The stock upscale nodes cannot read TinySR checkpoints: {error}")


def upscale_model(checkpoint: Checkpoint, photo: Checkpoint | None = None) -> "ImageModelDescriptor[Any] | BareModel":
    """An UPSCALE_MODEL on the CPU in float32.

    *TinySR Upscale* blends in as much of the network `photo` as a picture needs. Other nodes ignore it.
    """
    tensors = {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}
    try:
        architecture = _architecture()
    except Exception as error:  # with torchvision built for another torch, spandrel fails with a RuntimeError
        host.warn(f"spandrel does not work, so only TinySR's own nodes can use this model: {error}")
        return BareModel(TinySR.from_tensors(checkpoint.config, tensors), checkpoint.config.scale, photo)
    descriptor = architecture.load(tensors).eval()
    descriptor.patcher = host.patcher(descriptor.model)
    descriptor.tinysr_photo = photo
    return descriptor


def tinysr_network(model: nn.Module) -> TinySR | None:
    """A TinySR network with the weights of `model`, no matter which node loaded it; None for other networks."""
    if isinstance(model, TinySR):
        return model
    tensors = model.state_dict()
    config = _config(tensors)
    return None if config is None else TinySR.from_tensors(config, tensors)


def _config(state: dict[str, Any]) -> ModelConfig | None:
    try:
        return ModelConfig.from_shapes({name: tuple(tensor.shape) for name, tensor in state.items()})
    except (CheckpointError, AttributeError):  # AttributeError: a value is not a tensor
        return None


def _run(model: TinySR, image: Tensor) -> Tensor:
    """Run a network that another pack may have cast: gate and skip stay float32, the result has the image's dtype.

    The picture is continued beyond its edges, as TinySR's own engines do it.
    """
    if model.attention is not None:
        model.attention.float()
    border, (height, width) = TorchEngine.border, image.shape[2:]
    seen = crop_mirrored(image.float(), slice(-border, height + border), slice(-border, width + border))
    cut = border * model.config.scale
    return model(seen)[:, :, cut:-cut, cut:-cut].to(image.dtype)


def _architecture() -> "Architecture[TinySR]":
    from spandrel import Architecture, ImageModelDescriptor

    class TinySRArchitecture(Architecture[TinySR]):
        """Recognised by the exact shapes of all tensors, from which the config is derived."""

        def __init__(self) -> None:
            super().__init__(id=ARCHITECTURE_ID, detect=lambda state: _config(state) is not None)

        def load(self, state_dict: dict[str, Tensor]) -> ImageModelDescriptor[TinySR]:
            config = _config(state_dict)
            assert config is not None, "spandrel calls load only after detect"
            return ImageModelDescriptor(
                # Channels-last is what the engine uses; otherwise it would copy the network for each picture.
                TinySR.from_tensors(config, state_dict).to(memory_format=torch.channels_last),
                state_dict,
                architecture=self,
                purpose="SR",
                tags=[f"{config.channels}nf", f"{config.blocks}nb"],
                supports_half=True,
                supports_bfloat16=True,
                scale=config.scale,
                input_channels=3,
                output_channels=3,
                call_fn=_run,
            )

    return TinySRArchitecture()
