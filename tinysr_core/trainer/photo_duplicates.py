"""Photographs that show the same thing: copies, other sizes, other compression, a little cropped. Needs no torch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, KEPT = 32, 16
"""A photograph is shrunk to SIDE x SIDE; the KEPT x KEPT slowest waves of it make the hash."""
NEAR = 40
"""Hashes that differ in at most so many of their 255 bits show the same thing. Saved again as JPEG, halved, made
brighter or cropped by 2 %, a photograph changes in 0 to 36 bits (median, see `benchmarks/data_check.py`); two people in
the same studio, posed alike, differ in 50 or more."""

Hashes = NDArray[np.bool_]
_BLOCK = 1024


def perceptual_hash(pixels: NDArray[np.uint8]) -> Hashes:
    """RGB [H,W,3] -> [255]: which of the slowest waves (DCT-II of the grey picture) exceed their median, a "pHash"."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    places = np.arange(SIDE) + 0.5
    waves = np.cos(np.pi / SIDE * np.arange(KEPT)[:, None] * places)
    strengths = (waves @ grey @ waves.T).ravel()[1:]  # the mean brightness left out
    return strengths > np.median(strengths)


def distances(a: Hashes, b: Hashes) -> NDArray[np.float32]:
    """Number of differing bits of each of [n,255] with each of [m,255]: [n,m]."""
    signs_a, signs_b = (2 * hashes.astype(np.float32) - 1 for hashes in (a, b))
    return (a.shape[1] - signs_a @ signs_b.T) / 2


def near_pairs(hashes: Hashes) -> Iterator[tuple[int, int]]:
    """All i < j of [n,255] that show the same thing, block by block, so that memory stays bounded."""
    for top in range(0, len(hashes), _BLOCK):
        for left in range(top, len(hashes), _BLOCK):
            near = distances(hashes[top : top + _BLOCK], hashes[left : left + _BLOCK]) <= NEAR
            for i, j in np.argwhere(near):
                if top + i < left + j:
                    yield int(top + i), int(left + j)


def group(hashes: Hashes) -> list[int]:
    """For each of [n,255] the number of its group: the first that shows the same thing, through others if need be."""
    first = list(range(len(hashes)))

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for i, j in near_pairs(hashes):
        a, b = sorted((root(i), root(j)))
        first[b] = a
    return [root(index) for index in range(len(hashes))]
