"""Linear filters along one axis of a picture, for numpy arrays and torch tensors alike.

A filter whose samples depend on a few neighbours (such as resize) is a banded matrix. It is applied in blocks of rows,
each a product with a small dense matrix, which is fast in every BLAS and on GPUs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..util import Image
from .arrays import constant, empty, single

BLOCK = 64
"""Outputs of one product: few enough that the dense matrix has few zeros, enough for BLAS to be fast."""


@dataclass(frozen=True)
class Bands:
    """A banded matrix: output `i` is the sum of `weights[i, t] * input[first[i] + t]`. `first` never decreases.

    Every `first[i] + t` is inside the input; where fewer taps are needed, weights are 0.
    """

    first: NDArray[np.intp]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def taps(self) -> int:
        """Width of the band."""
        return self.weights.shape[1]

    def inputs(self, start: int, stop: int) -> tuple[int, int]:
        """Range of the inputs that the outputs `start` to `stop` depend on."""
        return int(self.first[start]), int(self.first[stop - 1]) + self.taps

    def blocks(self, start: int, stop: int, like: Any) -> list[tuple[slice, slice, Any]]:
        """Outputs `start` to `stop` in blocks: (outputs, inputs, matrix [outputs, inputs] of the kind of `like`)."""
        result: list[tuple[slice, slice, Any]] = []
        for a in range(start, stop, BLOCK):
            b = min(a + BLOCK, stop)
            low, high = self.inputs(a, b)
            dense = np.zeros((b - a, high - low))
            np.put_along_axis(dense, self.first[a:b, None] - low + np.arange(self.taps), self.weights[a:b], 1)
            result.append((slice(a, b), slice(low, high), constant(dense, like)))
        return result


def filter_rows(bands: Bands, image: Image, start: int, stop: int, offset: int = 0) -> Image:
    """Rows `start` to `stop` of the filtered picture. Row 0 of `image` [B,C,h,W] is input row `offset`.

    Half precision gives single precision.
    """
    low, high = bands.inputs(start, stop)
    image = single(image[:, :, low - offset : high - offset])
    result = empty(image, (*image.shape[:2], stop - start, image.shape[3]))
    for outputs, inputs, matrix in bands.blocks(start, stop, image):
        rows = image[:, :, inputs.start - low : inputs.stop - low]
        result[:, :, outputs.start - start : outputs.stop - start] = matrix @ rows
    return result


def column_filter(bands: Bands, like: Image) -> Callable[[Image], Image]:
    """A function [B,C,h,w] -> [B,C,h,W] that filters all columns. Its matrices are made once for all slabs.

    Half precision gives single precision.
    """
    blocks = bands.blocks(0, len(bands), like)

    def apply(image: Image) -> Image:
        image = single(image)
        result = empty(image, (*image.shape[:3], len(bands)))
        for outputs, inputs, matrix in blocks:
            result[..., outputs] = image[..., inputs] @ matrix.T
        return result

    return apply
