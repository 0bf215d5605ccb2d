"""How close a picture is to the original: PSNR-Y, SSIM-Y, LPIPS, as super-resolution papers measure them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import DataError

Picture8 = NDArray[np.uint8]
"""A picture of 8 bits, [H,W,3], RGB."""

LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""BT.601, to the studio range 16..235."""
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def luma(picture: Picture8) -> NDArray[np.float64]:
    """Y of BT.601 in 16..235, not rounded: [H,W,3] -> [H,W]."""
    return 16 + picture.astype(np.float64) @ LUMA


def psnr_y(result: Picture8, original: Picture8, border: int) -> float:
    """Peak signal-to-noise ratio of Y in dB, `border` pixels left out at each edge; infinite for equal pictures."""
    a, b = _inner(result, original, border)
    error = np.square(a - b).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_y(result: Picture8, original: Picture8, border: int) -> float:
    """Structural similarity of Y (Wang et al. 2004): 11x11 Gaussian of sigma 1.5, only windows wholly inside."""
    a, b = (torch.from_numpy(plane)[None, None] for plane in _inner(result, original, border))
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


class Lpips(nn.Module):
    """Learned perceptual distance (Zhang et al. 2018, version 0.1): 0 is equal, lower is better.

    `tensors` are a backbone's convs under torchvision's names and the heads `linN.weight`; see `load_lpips`.
    """

    def __init__(self, backbone: Literal["alex", "squeeze"], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.taps = {"alex": _alex_taps, "squeeze": _squeeze_taps}[backbone]
        self.tensors = dict(tensors)

    @torch.no_grad()
    def distance(self, result: Picture8, original: Picture8) -> float:
        """The distance of two pictures of the same size, at least 32 pixels a side."""
        features = [self.taps(_lpips_input(picture), self.tensors) for picture in (result, original)]
        total = 0.0
        for index, (a, b) in enumerate(zip(*features, strict=True)):
            difference = (_unit(a) - _unit(b)).square()
            total += float(F.conv2d(difference, self.tensors[f"lin{index}.weight"].view(1, -1, 1, 1)).mean())
        return total


def load_lpips(backbone: Literal["alex", "squeeze"], folder: Path | None) -> Lpips:
    """LPIPS with the weights in `folder`/lpips_`backbone`.safetensors.

    Raises:
        DataError: the file is not there. It is never replaced by something else in silence.
    """
    name = f"lpips_{backbone}.safetensors"
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        raise DataError(
            f"LPIPS needs {name}{f', not in {folder}' if folder else ''}: give the folder that holds it as the "
            "backbones, or leave LPIPS out."
        )
    return Lpips(backbone, load_file(path))


def _inner(result: Picture8, original: Picture8, border: int) -> list[NDArray[np.float64]]:
    if result.shape != original.shape:
        raise DataError(f"Pictures of different sizes, {result.shape} and {original.shape}, cannot be compared.")
    height, width = original.shape[:2]
    return [luma(picture[border : height - border, border : width - border]) for picture in (result, original)]


def _blur(plane: Tensor) -> Tensor:
    x = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(plane, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))


def _lpips_input(picture: Picture8) -> Tensor:
    image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
    return (image - shift) / scale


def _unit(features: Tensor) -> Tensor:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)


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
