"""The paper's perceptual loss (section 4), and the terms that our recipes add.

Each term takes SR and HR pictures [B,3,H,W], with values near [0,1], not clamped. It returns a differentiable scalar.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lpips import Lpips
from .vgg import VggFeatures

LAPLACIAN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))
SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
SOBEL_Y = ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0))

TERMS = ("vgg", "edge", "lab", "l1", "fft", "phase", "colour", "lpips")

RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to CIE XYZ (ITU-R BT.709 primaries, D65)."""
WHITE_D65 = (0.95047, 1.0, 1.08883)

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossConfig:
    """The weight of each term. Terms of weight 0 are not computed. The defaults are the paper's (section 4)."""

    vgg: float = 1.0
    """L1 between VGG19 features."""
    edge: float = 0.2
    """L1 between Sobel and Laplacian maps."""
    lab: float = 0.1
    """L1 in CIE Lab, where L goes from 0 to 100."""
    l1: float = 0.0
    """L1 between pixels."""
    fft: float = 0.0
    """L1 between Fourier coefficients."""
    phase: float = 0.0
    """L1 between the mean colours of the phases of the pixel shuffle. It prevents a checkerboard pattern: perceptual
    terms reward fine grain, and the cheapest grain is phases of different brightness."""
    colour: float = 0.0
    """L1 between mean colours of squares of 4 x 4 LR pixels. It keeps the colours of cleaned areas."""
    lpips: float = 0.0
    """LPIPS with SqueezeNet. LPIPS with AlexNet is only a metric and never a loss."""
    vgg_taps: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1")
    """Names of the VGG19 layers to compare, from conv1_1 to relu3_2."""

    @property
    def weights(self) -> dict[str, float]:
        """The weights above 0, by term."""
        weights = {name: getattr(self, name) for name in TERMS}
        return {name: weight for name, weight in weights.items() if weight > 0}


class Loss(nn.Module):
    """The weighted sum of the terms.

    Args:
        config: the weights of the terms.
        vgg_tensors: the weights from `load_vgg19`; only the term vgg needs them.
        lpips: LPIPS from `load_lpips`; only the term lpips needs it.
        scale: the network's upscaling factor; only the terms phase and colour need it.

    Raises:
        ValueError: the weights of VGG19 or LPIPS are missing.
        DataError: `config` names an unknown VGG19 layer.
    """

    def __init__(
        self,
        config: LossConfig,
        vgg_tensors: Mapping[str, Tensor] | None = None,
        lpips: Lpips | None = None,
        scale: int = 1,
    ) -> None:
        super().__init__()
        self.weights = config.weights
        self.distances: dict[str, Distance] = {
            "edge": edge_distance,
            "lab": lab_distance,
            "l1": F.l1_loss,
            "fft": fft_distance,
            "phase": partial(phase_distance, scale=scale),
            "colour": partial(colour_distance, side=4 * scale),
        }
        if vgg_tensors is not None:
            self.vgg = VggFeatures(config.vgg_taps, vgg_tensors)
            self.distances["vgg"] = self.vgg.distance
        if lpips is not None:
            self.lpips = lpips
            self.distances["lpips"] = lpips
        missing = sorted(set(self.weights) - set(self.distances))
        if missing:
            raise ValueError(f"the loss term {missing[0]} needs the weights of its network")

    def forward(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """SR and HR pictures [B,3,H,W] -> the weighted sum, and each term by name, not weighted."""
        terms = {name: self.distances[name](sr, hr) for name in self.weights}
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        return total, terms


def edge_distance(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 means of the differences of the Sobel-x, Sobel-y and Laplacian maps, summed."""
    # The maps are linear, so the map of the difference is the difference of the maps.
    return edge_maps(sr - hr).abs().mean((0, 1, 3, 4)).sum()


def edge_maps(image: Tensor) -> Tensor:
    """Sobel-x, Sobel-y and 4-neighbour Laplacian of each channel, zero padded: [B,C,H,W] -> [B,C,3,H,W]."""
    batch, channels, height, width = image.shape
    kernels = _constant((SOBEL_X, SOBEL_Y, LAPLACIAN), image.dtype, image.device)[:, None]
    maps = F.conv2d(image.reshape(batch * channels, 1, height, width), kernels, padding=1)
    return maps.reshape(batch, channels, 3, height, width)


def lab_distance(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 mean over the three channels of CIE Lab."""
    return F.l1_loss(rgb_to_lab(sr), rgb_to_lab(hr))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB [B,3,H,W] in [0,1] -> CIE Lab (D65, 2 degrees): L in [0,100], a and b about [-128,127].

    Values outside [0,1] follow the same curves, so that their gradient still points inwards. Near zero, where the slope
    of the powers is infinite, both standards define linear pieces, which keep the gradient finite.
    """
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = _constant(RGB_TO_XYZ, rgb.dtype, rgb.device)
    white = _constant(WHITE_D65, rgb.dtype, rgb.device)
    xyz = torch.einsum("ij,bjhw->bihw", matrix / white[:, None], linear)
    threshold = 0.008856
    x, y, z = torch.where(xyz > threshold, xyz.clamp(min=threshold) ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def fft_distance(sr: Tensor, hr: Tensor) -> Tensor:
    """L1 mean over the real and imaginary parts of the 2-D Fourier transform, as in SAFMN and ShuffleMixer."""
    return torch.view_as_real(torch.fft.rfft2(sr - hr)).abs().mean()


def phase_distance(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """L1 mean over the `scale` x `scale` phases and the channels of the difference in mean colour."""
    return F.pixel_unshuffle(sr - hr, scale).mean((0, 2, 3)).abs().mean()


def colour_distance(sr: Tensor, hr: Tensor, side: int) -> Tensor:
    """L1 mean of the difference in mean colour of squares of `side` x `side` pixels. Incomplete squares at the right
    and the bottom are left out."""
    return F.avg_pool2d(sr - hr, side).abs().mean()


@cache
def _constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """`values` on the device, cached: copying them at each step would make a GPU wait."""
    with torch.inference_mode(False):  # the cached tensor may later be used in training
        return torch.tensor(values, dtype=dtype, device=device)
