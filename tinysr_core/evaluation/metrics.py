"""PSNR-Y, SSIM-Y and LPIPS as super-resolution papers measure them, and a texture distance without a trained network.

Pictures are RGB uint8 [H,W,3].
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..images import Pixels8
from ..loss import Lpips

STUDIO_LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""BT.601 luma of RGB, less the offset of 16; white is 219 (studio range 16 to 235)."""
LPIPS_SMALLEST = 32
"""Smallest side in pixels; the network halves the picture five times."""
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
TEXTURE_BANDS = 2
TEXTURE_CONSTANT = 4.0
"""Variance, in squared levels, below which differences of local contrast hardly count."""
STRUCTURE_EXPONENT = 1 / 8
"""Exponent of the correlation: low, so that detail may be slightly out of place; high enough to reject noise."""


def luma(picture: Pixels8) -> NDArray[np.float64]:
    """Luma (BT.601) in [16,235], not rounded: [H,W,3] -> [H,W]."""
    return 16 + picture.astype(np.float64) @ STUDIO_LUMA


def psnr_y(result: Pixels8, original: Pixels8, border: int) -> float:
    """Peak signal-to-noise ratio of Y in dB, without `border` pixels at each edge; infinite for equal pictures.

    Raises:
        DataError: the pictures have different sizes.
    """
    a, b = _inner(result, original, border)
    error = np.square(a - b).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim_y(result: Pixels8, original: Pixels8, border: int) -> float:
    """Structural similarity of Y (Wang et al. 2004), at most 1, without `border` pixels at each edge.

    Windows are 11x11 Gaussians of sigma 1.5 that lie inside the picture.

    Raises:
        DataError: the pictures have different sizes.
    """
    a, b = (torch.from_numpy(plane)[None, None] for plane in _inner(result, original, border))
    mean_a, mean_b, variance_a, variance_b, covariance = _local_statistics(a, b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


def texture_distance(result: Pixels8, original: Pixels8, border: int) -> float:
    """Distance of the finest detail of Y: 0 for equal pictures, lower is better.

    1 minus the mean of contrast times structure^(1/8), both as in SSIM (Wang et al. 2004), over the two finest bands of
    a Laplacian pyramid. As in LPIPS, blurred detail costs more than detail that is slightly out of place. Correlation
    with LPIPS: benchmarks/results/finetune.md.

    Raises:
        DataError: the pictures have different sizes.
    """
    a, b = (torch.from_numpy(plane)[None, None] for plane in _inner(result, original, border))
    distances: list[float] = []
    for _ in range(TEXTURE_BANDS):
        (band_a, a), (band_b, b) = _laplacian_band(a), _laplacian_band(b)
        _, _, variance_a, variance_b, covariance = _local_statistics(band_a, band_b)
        deviations = (variance_a.clamp(min=0) * variance_b.clamp(min=0)).sqrt()
        contrast = (2 * deviations + TEXTURE_CONSTANT) / (variance_a + variance_b + TEXTURE_CONSTANT)
        structure = (covariance + TEXTURE_CONSTANT / 2) / (deviations + TEXTURE_CONSTANT / 2)
        distances.append(float(1 - (contrast * structure.clamp(min=0) ** STRUCTURE_EXPONENT).mean()))
    return sum(distances) / TEXTURE_BANDS


@torch.no_grad()
def lpips_distance(lpips: Lpips, result: Pixels8, original: Pixels8) -> float:
    """LPIPS of the whole pictures: 0 for equal ones, lower is better.

    Raises:
        DataError: a side is below `LPIPS_SMALLEST`.
    """
    if min(result.shape[:2]) < LPIPS_SMALLEST:
        raise DataError(f"LPIPS needs pictures of at least {LPIPS_SMALLEST} pixels a side; remove smaller ones.")
    pictures = [torch.from_numpy(picture.transpose(2, 0, 1)[None] / np.float32(255)) for picture in (result, original)]
    return float(lpips(*pictures))


def _inner(result: Pixels8, original: Pixels8, border: int) -> list[NDArray[np.float64]]:
    if result.shape != original.shape:
        raise DataError(f"Pictures of different sizes, {result.shape} and {original.shape}, cannot be compared.")
    height, width = original.shape[:2]
    return [luma(picture[border : height - border, border : width - border]) for picture in (result, original)]


def _laplacian_band(plane: Tensor) -> tuple[Tensor, Tensor]:
    """The detail of a plane [1,1,H,W] that halving loses, and the halved plane."""
    height, width = plane.shape[2:]
    plane = plane[:, :, : height - height % 2, : width - width % 2]
    half = F.avg_pool2d(plane, 2)
    return plane - F.interpolate(half, scale_factor=2, mode="bilinear"), half


def _local_statistics(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Local means, variances and covariance of two planes, in SSIM's window; a smaller plane is one window."""
    if min(a.shape[2:]) < SSIM_WINDOW:
        mean_a, mean_b = a.mean(), b.mean()
        return mean_a, mean_b, (a * a).mean() - mean_a**2, (b * b).mean() - mean_b**2, (a * b).mean() - mean_a * mean_b
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    return mean_a, mean_b, variance_a, variance_b, _blur(a * b) - mean_a * mean_b


def _blur(plane: Tensor) -> Tensor:
    x = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(plane, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
