"""VGG19 up to relu3_2, the feature network of the perceptual loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError
from .download import Downloads, Source, load_backbone

VGG19_FILE = "vgg19_features.safetensors"
VGG19 = Source("VGG19", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LAYERS = (
    *("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"),
    *("conv2_1", "relu2_1", "conv2_2", "relu2_2", "pool2"),
    *("conv3_1", "relu3_1", "conv3_2", "relu3_2"),
)
"""Layer names in the order of torchvision's `vgg19().features`."""


class VggFeatures(nn.Module):
    """The outputs of named layers of VGG19 (Simonyan and Zisserman 2014). The weights are frozen.

    Args:
        taps: names of layers, see `LAYERS`.
        tensors: the convs under torchvision's names; see `load_vgg19`.

    Raises:
        DataError: a layer is unknown, or `taps` is empty.
    """

    def __init__(self, taps: tuple[str, ...], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        unknown = sorted(set(taps) - set(LAYERS))
        if unknown or not taps:
            raise DataError(f"Unknown VGG layer {', '.join(unknown) or '(none)'}; choose among {', '.join(LAYERS)}.")
        self.taps = frozenset(taps)
        self.layers = LAYERS[: max(LAYERS.index(tap) for tap in taps) + 1]
        for index, name in enumerate(self.layers):
            if name.startswith("conv"):
                self.register_buffer(f"{name}_weight", tensors[f"features.{index}.weight"])
                self.register_buffer(f"{name}_bias", tensors[f"features.{index}.bias"])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB [B,3,H,W] in [0,1] -> the outputs of the tapped layers, in the order of `LAYERS`."""
        x = (image - self.get_buffer("mean")) / self.get_buffer("std")
        features: list[Tensor] = []
        for name in self.layers:
            if name.startswith("conv"):
                x = F.conv2d(x, self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias"), padding=1)
            else:
                x = F.relu(x) if name.startswith("relu") else F.max_pool2d(x, 2)
            if name in self.taps:
                features.append(x)
        return features

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """L1 mean of the difference at each tap, summed over the taps. Gradients flow to `sr` only."""
        with torch.no_grad():
            target = self(hr)
        return torch.stack([F.l1_loss(a, b) for a, b in zip(self(sr), target, strict=True)]).sum()


def load_vgg19(folder: Path | None, downloads: Downloads | None = None) -> dict[str, Tensor]:
    """The weights of VGG19 up to conv3_2, from `folder`/vgg19_features.safetensors.

    Without `folder`, they come from the cache. They are downloaded once: 575 MB, of which 5 MB are kept.

    Raises:
        DataError: the file is missing or damaged, or it cannot be downloaded.
    """
    return load_backbone(VGG19_FILE, folder, [VGG19], _select, downloads or Downloads())


def _select(contents: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of `LAYERS` from torchvision's file."""
    layers = tuple(f"features.{index}." for index, _ in enumerate(LAYERS))
    return {name: tensor for name, tensor in contents[0].items() if name.startswith(layers)}
