"""LPIPS, the learned perceptual distance (Zhang et al. 2018, version 0.1), as a metric and as a loss term."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .download import Downloads, Source, load_backbone

Backbone = Literal["alex", "squeeze"]
NETWORKS: Mapping[Backbone, Source] = {
    "alex": Source("AlexNet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),
    "squeeze": Source("SqueezeNet", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
}
_HEADS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963"
    "/lpips/weights/v0.1/"
)
HEADS: Mapping[Backbone, Source] = {
    "alex": Source("LPIPS for AlexNet", f"{_HEADS}alex.pth", "df73285e"),
    "squeeze": Source("LPIPS for SqueezeNet", f"{_HEADS}squeeze.pth", "4a5350f2"),
}
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""Normalisation of pictures in [-1,1]."""


class Lpips(nn.Module):
    """The distance between two pictures in the features of a network. The weights are frozen.

    Args:
        backbone: AlexNet or SqueezeNet 1.1.
        tensors: the convs of the backbone under torchvision's names, and the heads as `linN.weight`; see `load_lpips`.
    """

    def __init__(self, backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.taps = {"alex": _alex_taps, "squeeze": _squeeze_taps}[backbone]
        self.names = {name: name.replace(".", "_") for name in tensors}
        for name, tensor in tensors.items():
            self.register_buffer(self.names[name], tensor)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two RGB pictures [B,3,H,W] in [0,1], at least 32 pixels a side -> the mean distance over the batch, >= 0."""
        tensors = {name: self.get_buffer(buffer) for name, buffer in self.names.items()}
        features = [self.taps(self._normalised(picture), tensors) for picture in (a, b)]
        distances: list[Tensor] = []
        for index, (x, y) in enumerate(zip(*features, strict=True)):
            head = tensors[f"lin{index}.weight"].view(1, -1, 1, 1)
            distances.append(F.conv2d((_unit(x) - _unit(y)).square(), head).mean())
        return torch.stack(distances).sum()

    def _normalised(self, picture: Tensor) -> Tensor:
        return (2 * picture - 1 - self.get_buffer("shift")) / self.get_buffer("scale")


def load_lpips(backbone: Backbone, folder: Path | None, downloads: Downloads | None = None) -> Lpips:
    """LPIPS with the weights in `folder`/lpips_BACKBONE.safetensors.

    Without `folder`, the weights come from the cache. They are downloaded once: 5 MB for SqueezeNet, or 244 MB for
    AlexNet, of which 10 MB are kept.

    Raises:
        DataError: the file is missing or damaged, or it cannot be downloaded.
    """
    sources = [NETWORKS[backbone], HEADS[backbone]]
    name = f"lpips_{backbone}.safetensors"
    return Lpips(backbone, load_backbone(name, folder, sources, _select, downloads or Downloads()))


def _select(contents: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The convs from torchvision's file, and the heads from that of the authors of LPIPS."""
    network, heads = contents
    convs = {name: tensor for name, tensor in network.items() if name.startswith("features.")}
    return convs | {name.replace(".model.1.", "."): tensor for name, tensor in heads.items()}


def _unit(features: Tensor) -> Tensor:
    """`features` scaled to unit length over the channels. The epsilon keeps the gradient finite where all are 0."""
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + 1e-10)


def _conv_relu(x: Tensor, tensors: Mapping[str, Tensor], name: str, stride: int = 1, padding: int = 0) -> Tensor:
    return F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, padding))


def _alex_taps(x: Tensor, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """AlexNet after each of its five ReLUs."""
    first = _conv_relu(x, tensors, "features.0", 4, 2)
    second = _conv_relu(F.max_pool2d(first, 3, 2), tensors, "features.3", 1, 2)
    third = _conv_relu(F.max_pool2d(second, 3, 2), tensors, "features.6", 1, 1)
    fourth = _conv_relu(third, tensors, "features.8", 1, 1)
    return [first, second, third, fourth, _conv_relu(fourth, tensors, "features.10", 1, 1)]


def _squeeze_taps(x: Tensor, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """SqueezeNet 1.1 after its first ReLU and the fire modules 4, 7, 9, 10, 11, 12."""
    x = _conv_relu(x, tensors, "features.0", 2)
    taps = [x]
    for index in range(2, 13):
        if index in (2, 5, 8):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            continue
        squeezed = _conv_relu(x, tensors, f"features.{index}.squeeze")
        expanded = [
            _conv_relu(squeezed, tensors, f"features.{index}.expand1x1"),
            _conv_relu(squeezed, tensors, f"features.{index}.expand3x3", padding=1),
        ]
        x = torch.cat(expanded, 1)
        if index in (4, 7, 9, 10, 11, 12):
            taps.append(x)
    return taps
