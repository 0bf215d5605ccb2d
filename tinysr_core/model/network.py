"""The network: TinyESPCN-Enhanced (Das, Saawarn, Sarkar 2025, section 3)."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bicubic import skip_kernel
from .config import ModelConfig

FEATURE_OFFSET = 0.3
"""Initial bias of the head, larger than its first response, so that no ReLU channel starts dead. Otherwise half of
them would, and a dead channel never learns."""
TAIL_GAIN = 0.1
"""Scale of the tail's initial weights: small, so that training starts near bicubic."""
TRUNK_GAIN = 0.3
"""Scale of the trunk's initial random weights, which are added to the identity (benchmarks/results/training.md)."""


class SqueezeExcitation(nn.Module):
    """Channel attention without biases: mean features [B,C] -> gate [B,C] in (0,1) (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class TinySR(nn.Module):
    """LR picture [B,3,h,w] in [0,1] -> SR picture [B,3,s*h,s*w], not clamped.

    A 7x7 conv + ReLU gives x1. `blocks` times 3x3 conv + ReLU give x2. A gate per channel scales x2. A 3x3 conv and a
    pixel shuffle of x1 + x2 give the detail, which is added to the bicubic enlargement.

    Only the gate has unlimited reach. Without `gate`, it is computed from the mean of x2 over the input. Pass the same
    `gate` for every tile of a picture, and the tiles agree with the whole picture.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.head = nn.Conv2d(3, channels, 7, padding=3)
        self.trunk = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(config.blocks)))
        self.attention = SqueezeExcitation(channels, config.reduction) if config.attention else None
        self.tail = nn.Conv2d(channels, 3 * config.scale**2, 3, padding=1)
        if not self.head.weight.is_meta:  # tensors on the meta device have no values; they are loaded later
            self._initialise()

    @classmethod
    def from_tensors(cls, config: ModelConfig, tensors: Mapping[str, Tensor]) -> "TinySR":
        """A network for inference that shares these tensors; their names are those of a checkpoint."""
        with torch.device("meta"):  # skips the random initialisation
            model = cls(config)
        model.load_state_dict(tensors, assign=True)
        return model.eval().requires_grad_(False)

    def forward(self, image: Tensor, gate: Tensor | None = None) -> Tensor:
        """`image` float32 [B,3,h,w]; `gate` [B,C] from `attention`, or None. Returns float32 [B,3,s*h,s*w].

        The convs run in the dtype of their weights. The bicubic skip, the gate and the final sum stay in float32.
        """
        shallow, deep = self._features(image)
        if self.attention is not None:
            own: Tensor = self.attention(deep.mean((2, 3), dtype=torch.float32)) if gate is None else gate
            deep = deep * own[:, :, None, None].to(deep.dtype)
        detail = F.pixel_shuffle(self.tail(shallow + deep), self.config.scale)
        return bicubic_skip(image, self.config.scale) + detail.float()

    def pooled(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Mean trunk features [B,C] over a part of `image` [B,3,h,w]. `attention` computes the gate [B,C] from them."""
        _, deep = self._features(image)
        return deep[:, :, rows, columns].mean((2, 3), dtype=torch.float32)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow = F.relu_(self.head(image.to(self.head.weight.dtype)))
        deep = shallow
        for conv in self.trunk:
            deep = F.relu_(conv(deep))  # in place, because allocating memory per layer costs more than the ReLU
        return shallow, deep

    def _initialise(self) -> None:
        """He initialisation, less the mean of each kernel: kernels respond to contrast, not to brightness."""
        for conv in [self.head, *self.trunk, self.tail]:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
            with torch.no_grad():
                conv.weight -= conv.weight.mean((1, 2, 3), keepdim=True)
        with torch.no_grad():
            nn.init.constant_(self.head.get_parameter("bias"), FEATURE_OFFSET)
            for conv in self.trunk:
                weight = conv.get_parameter("weight")
                weight.mul_(TRUNK_GAIN).add_(nn.init.dirac_(torch.empty_like(weight)))
            self.tail.weight.mul_(TAIL_GAIN)


def bicubic_skip(image: Tensor, scale: int, conv2d: Callable[[Tensor, Tensor], Tensor] = F.conv2d) -> Tensor:
    """Bicubic enlargement as torch's `interpolate` does it (a = -0.75, border repeated): [B,C,h,w] -> [B,C,s*h,s*w].

    `interpolate` computes source positions in float32. At ×3, far from the corner, they are off by up to 3e-4 pixels,
    and differently in each tile. Here each position inside a source pixel has an exact kernel.
    """
    batch, channels, height, width = image.shape
    planes = F.pad(image.reshape(batch * channels, 1, height, width), (2, 2, 2, 2), mode="replicate")
    with _no_autocast(image.device):
        phases = conv2d(planes, _skip_kernel(scale, image.dtype, image.device))
    return F.pixel_shuffle(phases, scale).reshape(batch, channels, scale * height, scale * width)


def _no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    try:
        return torch.autocast(device.type, enabled=False)
    except (RuntimeError, AssertionError):  # no autocast for this device: `mps` before torch 2.5, DirectML
        return nullcontext()


@cache
def _skip_kernel(scale: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The kernels [scale^2,1,5,5] on the device, cached: copying them for each picture would make a GPU wait."""
    with torch.inference_mode(False):  # the cached tensor may later be used in training
        return torch.from_numpy(skip_kernel(scale))[:, None].to(device, dtype)
