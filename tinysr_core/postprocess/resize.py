"""Antialiased resize to any size, in floating point, for numpy arrays and torch tensors alike."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..util import Image, Progress
from .arrays import empty, require_picture
from .banded_matrix import Bands, column_filter, filter_rows
from .slabs import fill

Kernel = Literal["bicubic", "lanczos"]


def resize(
    image: Image, height: int, width: int, kernel: Kernel = "bicubic", *, progress: Progress | None = None
) -> Image:
    """Resize pictures [B,C,H,W] of any float range to [B,C,height,width].

    Equal to Pillow's `resize` in mode "F" with `Resampling.BICUBIC` (a = -0.5, also MATLAB's kernel) or
    `Resampling.LANCZOS` (a = 3): centres are aligned, the kernel is widened for downscaling, weights are normalised at
    the border. The result is not clamped: both kernels overshoot at edges. Half precision gives single precision.
    Gradients flow through. A picture that has this size already is returned itself.

    Args:
        progress: called after each slab; an exception that it raises cancels.

    Raises:
        RequestError: the size is not positive, the kernel is unknown, or `image` is not such an array.
    """
    if height < 1 or width < 1:
        raise RequestError(f"The size is {width} x {height} pixels; both sides must be at least 1.")
    if kernel not in KERNELS:
        raise RequestError(f"There is no resize kernel {kernel!r}; choose among {', '.join(KERNELS)}.")
    require_picture(image)
    if image.shape[2:] == (height, width):
        return image
    vertical = resize_bands(image.shape[2], height, kernel)
    horizontal = column_filter(resize_bands(image.shape[3], width, kernel), image)
    result = empty(image, (*image.shape[:2], height, width))

    def resized(source: Any, rows: tuple[int, int]) -> Any:
        return horizontal(filter_rows(vertical, source, *rows))

    fill(result, image, max(width, image.shape[3]), vertical.inputs, resized, progress)
    return result


def resize_bands(size: int, new_size: int, kernel: Kernel) -> Bands:
    """The matrix [new_size, size] of the resize along one axis."""
    function, reach = KERNELS[kernel]
    scale = size / new_size
    stretch = max(scale, 1.0)
    centre = (np.arange(new_size) + 0.5) * scale
    # Pillow's taps: within the reach of the kernel, rounded to whole samples, clipped at the border.
    low = np.maximum(np.floor(centre - reach * stretch + 0.5), 0)
    high = np.minimum(np.floor(centre + reach * stretch + 0.5), size)
    taps = int((high - low).max())
    first = np.minimum(low, size - taps)
    position = first[:, None] + np.arange(taps)
    weights = function((position + 0.5 - centre[:, None]) / stretch)
    weights[(position < low[:, None]) | (position >= high[:, None])] = 0
    return Bands(first.astype(np.intp), weights / weights.sum(1, keepdims=True))


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution (1981), a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sinc function under a sinc window of three lobes."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


KERNELS = {"bicubic": (_bicubic, 2.0), "lanczos": (_lanczos, 3.0)}
"""Name -> (function, its reach to each side)."""
