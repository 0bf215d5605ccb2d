"""How close a picture is to the original: PSNR-Y, SSIM-Y, LPIPS, as super-resolution papers measure them."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..images import Pixels8
from ..loss import Lpips

STUDIO_LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""BT.601, to the studio range 16..235."""
LPIPS_SMALLEST = 32
"""Side in pixels; its network halves the picture five times."""
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def luma(picture: Pixels8) -> NDArray[np.float64]:
    """Y of BT.601 in 16..235, not rounded: [H,W,3] -> [H,W]."""
    return 16 + picture.astype(np.float64) @ STUDIO_LUMA


def psnr_y(result: Pixels8, original: Pixels8, border: int) -> float:
    """Peak signal-to-noise ratio of Y in dB, `border` pixels left out at each edge; infinite for equal pictures."""
    a, b = _inner(result, original, border)
    error = np.square(a - b).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_y(result: Pixels8, original: Pixels8, border: int) -> float:
    """Structural similarity of Y (Wang et al. 2004): 11x11 Gaussian of sigma 1.5, only windows wholly inside."""
    a, b = (torch.from_numpy(plane)[None, None] for plane in _inner(result, original, border))
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


@torch.no_grad()
def lpips_distance(lpips: Lpips, result: Pixels8, original: Pixels8) -> float:
    """LPIPS of the whole RGB pictures: 0 is equal, lower is better. Raises DataError below 32 pixels a side."""
    if min(result.shape[:2]) < LPIPS_SMALLEST:
        raise DataError(f"LPIPS needs pictures of {LPIPS_SMALLEST} pixels a side; take smaller ones out of the folder.")
    pictures = [torch.from_numpy(picture.transpose(2, 0, 1)[None] / np.float32(255)) for picture in (result, original)]
    return float(lpips(*pictures))


def _inner(result: Pixels8, original: Pixels8, border: int) -> list[NDArray[np.float64]]:
    if result.shape != original.shape:
        raise DataError(f"Pictures of different sizes, {result.shape} and {original.shape}, cannot be compared.")
    height, width = original.shape[:2]
    return [luma(picture[border : height - border, border : width - border]) for picture in (result, original)]


def _blur(plane: Tensor) -> Tensor:
    x = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(plane, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
