"""Near-duplicates: photographs that were resized, recompressed or slightly cropped. Needs no torch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, KEPT = 32, 16
"""A photograph is shrunk to SIDE x SIDE pixels; its KEPT x KEPT lowest frequencies make the hash."""
NEAR = 40
"""Largest number of differing bits, of 255, between near-duplicates. Recompressed as JPEG, halved, brightened or
cropped by 2 %, a photograph changes in 0 to 36 bits (medians, see `benchmarks/data_check.py`). Two people in the same
pose in the same studio differ in 50 or more."""

Hashes = NDArray[np.bool_]
_BLOCK = 1024


def perceptual_hash(pixels: NDArray[np.uint8]) -> Hashes:
    """The "pHash" of an RGB picture [H,W,3], bool [255]: which of the lowest frequencies (DCT-II of the grey picture)
    exceed their median."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    dct = np.cos(np.pi / SIDE * np.arange(KEPT)[:, None] * (np.arange(SIDE) + 0.5))
    coefficients = (dct @ grey @ dct.T).ravel()[1:]  # without the mean brightness
    return coefficients > np.median(coefficients)


def distances(a: Hashes, b: Hashes) -> NDArray[np.float32]:
    """Number of differing bits between each hash of [n,255] and each of [m,255]: [n,m]."""
    signs_a, signs_b = (2 * hashes.astype(np.float32) - 1 for hashes in (a, b))
    return (a.shape[1] - signs_a @ signs_b.T) / 2


def near_pairs(hashes: Hashes) -> Iterator[tuple[int, int]]:
    """The pairs i < j of near-duplicates among hashes [n,255], block by block to bound memory."""
    for top in range(0, len(hashes), _BLOCK):
        for left in range(top, len(hashes), _BLOCK):
            near = distances(hashes[top : top + _BLOCK], hashes[left : left + _BLOCK]) <= NEAR
            for i, j in np.argwhere(near):
                if top + i < left + j:
                    yield int(top + i), int(left + j)


def group(hashes: Hashes) -> list[int]:
    """For each hash of [n,255], the index of the first one of its group. Near-duplicates are in the same group, also
    indirect ones."""
    first = list(range(len(hashes)))

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for i, j in near_pairs(hashes):
        a, b = sorted((root(i), root(j)))
        first[b] = a
    return [root(index) for index in range(len(hashes))]
