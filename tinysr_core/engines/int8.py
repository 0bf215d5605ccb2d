"""Int8 quantisation, for OpenVINO and for ONNX files: calibration pictures, margins, rounding of kernels, quality.

Measurements: benchmarks/results/precision.md and export.md.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PORTRAIT = Path(__file__).parent / "portrait.jpg"
"""The calibration portrait (CC0, cjdowner/interfaces)."""
MARGIN = 2.0
"""Factor on the ranges of the portrait. Values beyond are clipped, so letters and drawings, whose ranges are larger,
lose contrast. A margin of 1.5 costs 0.4 dB on letters. A margin of 2 costs 0.06 dB there, and 0.01 dB more on
portraits. It also keeps int8 exact on CPUs without VNNI: their kernels add pairs of products in 16 bits, which holds
2 x 127 x 255 / 2, so only values beyond the portrait's ranges can saturate."""
STEPS = 127
"""Quantisation steps from 0 to the largest weight of an output channel."""
CLOSE, CLOSE_PER_SCALE = 61.5, 1.5
"""Smallest PSNR in dB between the int8 and the fp32 result at which int8 is as good, and how much it decreases per unit
of scale, because results at larger scales are further from the original. Above it, PSNR-Y against the original falls by
less than 0.05 dB on portraits, and LPIPS rises by less than 2 %."""


def close_enough(scale: int) -> float:
    """The PSNR in dB between the int8 and the fp32 result from which on int8 is as good."""
    return CLOSE - CLOSE_PER_SCALE * scale


def calibration_pictures() -> list[NDArray[np.float32]]:
    """The portrait [1,3,h,w] in [0,1], and the portrait at half size, whose edges are sharper."""
    with Image.open(PORTRAIT) as picture:
        whole = picture.convert("RGB")
    return [_planes(whole), _planes(whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BICUBIC))]


def psnr(mine: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """PSNR in dB between two results, which are clamped to [0,1]; at most 120 dB."""
    error = float(np.square(mine.clip(0, 1) - other.clip(0, 1)).mean())
    return float(-10 * np.log10(max(error, 1e-12)))


def largest_weights(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest absolute weight of each output channel: [out,in,k,k] -> [out,1,1,1], above 0."""
    return np.maximum(np.abs(weight).max((1, 2, 3), keepdims=True), np.finfo(np.float32).tiny)


def steps_of(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels [out,in,k,k] as whole multiples of `largest_weights` / `STEPS`, by the largest-remainder method.

    All weights of a kernel are rounded down; then those with the largest remainders are rounded up, until the sum of
    the kernel is off by at most half a step. Flat areas therefore keep their brightness. Rounding each weight to the
    nearest step would add up errors there: the result would be 3 to 5 dB further from that of fp32.
    """
    steps = (weight / largest_weights(weight) * STEPS).reshape(*weight.shape[:2], -1)
    down = np.floor(steps)
    remainders = steps - down
    rank = np.argsort(np.argsort(-remainders))
    up = rank < np.rint(remainders.sum(-1, keepdims=True))
    return (down + up).reshape(weight.shape)


def _planes(picture: Image.Image) -> NDArray[np.float32]:
    return np.asarray(picture, np.float32).transpose(2, 0, 1)[None].copy() / np.float32(255)
