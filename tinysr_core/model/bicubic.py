"""The kernel of the network's bicubic skip, for every runtime. Needs no torch."""

import numpy as np
from numpy.typing import NDArray


def skip_kernel(scale: int) -> NDArray[np.float64]:
    """Bicubic enlargement as one convolution: [scale^2,5,5], one kernel for each position inside a source pixel.

    The cubic is that of torch's `interpolate` (Keys 1981, a = -0.75). To enlarge a plane, pad it by repeating its
    edge twice, convolve it with these kernels, and apply a pixel shuffle to the scale^2 results.
    """
    offset = (np.arange(scale) + 0.5) / scale - 0.5
    weights = _keys(np.arange(-2, 3) - offset[:, None])
    return np.einsum("iy,jx->ijyx", weights, weights).reshape(scale**2, 5, 5)


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys's cubic at distance `x` in source pixels."""
    x = np.abs(x)
    near = (1.25 * x - 2.25) * x * x + 1
    far = ((-0.75 * x + 3.75) * x - 6) * x + 3
    return np.where(x < 1, near, np.where(x < 2, far, 0))
