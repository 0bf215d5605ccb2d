"""Pairs of LR and HR patches from photographs.

The patches of a step depend only on the seed and on the number of the sample. A resumed run, or one with another number
of processes, therefore sees the same ones.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import DataError
from ..images import PhotoCache, Pixels8
from .degrade import Box, DegradeConfig, make_lr

KERNEL_REACH = 2
"""Reach of the bicubic kernel to each side, in LR pixels."""


@dataclass(frozen=True)
class DataConfig:
    """How patches are cut from the photographs."""

    patch: int = 48
    """Side of an LR patch, in pixels; the HR patch is `scale` times as large. 0: 32 on a CPU, 64 on a GPU."""
    batch: int = 16
    """Patches per step, over all processes. 0: 8 on a CPU, 16 on a GPU. If batch or patch is 0, the learning rate is
    taken as that of 8 patches of 32x32, and is scaled."""
    crops: int = 0
    """Number of distinct crops to draw from, with new flips and rotation each time; 0: every crop is new."""
    flips: bool = True
    """Mirror each patch left-right and top-bottom with probability 1/2 each."""
    max_rotation: float = 0.0
    """Rotate by a random angle in [-max_rotation, max_rotation] degrees. Rotated patches are resampled and therefore
    softer than the photographs, so that the network learns to be softer (benchmarks/results/finetune.md)."""
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    """Share of the patches from the folders whose name starts with the key; folders without a share are not used.
    Empty: all photographs are equally likely."""
    megapixels: float = 0.0
    """Photographs with more million pixels are shrunk first, by a whole number; 0: never. Large photographs are often
    soft at the scale of their pixels, and teach a network little."""
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    """How LR patches are degraded."""


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Sample `i` is (LR [3,p,p], HR [3,s*p,s*p]), uint8. It depends only on the photographs, the config, the seed and
    `i`.

    Pixels of an LR patch equal those of the whole photograph shrunk by Pillow's antialiased bicubic (a = -0.5, the
    kernel of MATLAB's imresize), rounded to 8 bits, unless the config degrades it.

    Args:
        photos: the photographs.
        scale: the upscaling factor s.
        config: how patches are cut and degraded.
        seed: the seed of all random numbers.
        cache: a file for the decoded photographs, 3 bytes per pixel.

    Raises:
        DataError: a photograph is smaller than a patch, a share matches no folder, or the disk is full.
        PictureError: a photograph cannot be read.
    """

    def __init__(self, photos: Sequence[Path], scale: int, config: DataConfig, seed: int, cache: Path) -> None:
        self.scale, self.config, self.seed = scale, config, seed
        self.groups = _groups(photos, config.shares)
        used = sorted({path for _, paths in self.groups for path in paths})
        self.photos = PhotoCache(used, cache, config.megapixels)
        for path in used:
            _refuse_small(path, self.photos[path], scale * config.patch)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        augment = np.random.default_rng((self.seed, 1, index))
        crops = self.config.crops
        choose = np.random.default_rng((self.seed, 0, index % crops if crops else index))
        shares = np.array([share for share, _ in self.groups])
        paths = self.groups[choose.choice(len(shares), p=shares / shares.sum())][1]
        photo = self.photos[paths[choose.integers(len(paths))]]
        part, box = self._crop(photo, choose, math.radians(augment.uniform(-1, 1) * self.config.max_rotation))
        size, degrade = (self.config.patch, self.config.patch), np.random.default_rng((self.seed, 2, index))
        lr, hr = make_lr(part, box, size, self.config.degrade, degrade), part.crop(box)
        flips = augment.integers(2, size=2) if self.config.flips else (0, 0)
        steps = tuple(-1 if flip else 1 for flip in flips)
        return _to_tensor(lr, steps), _to_tensor(hr, steps)

    def _crop(self, photo: Pixels8, choose: np.random.Generator, angle: float) -> tuple[Image.Image, Box]:
        """An HR patch at a random place: a part of the photograph, rotated by `angle` (radians), and the patch's box in
        it.

        The part includes the pixels around the patch that the kernel reaches. If the photograph is too small for a
        rotated patch, the patch is not rotated.
        """
        scale, patch = self.scale, self.config.patch
        side, margin = scale * patch, KERNEL_REACH * scale
        extents = (photo.shape[1], photo.shape[0])
        left, top = (scale * int(choose.integers((extent - side) // scale + 1)) for extent in extents)
        # The patch with its margin, rotated by `angle`, fits into a window of this size. Rotating the window therefore
        # brings no black corner into the patch.
        spread = math.cos(angle) + abs(math.sin(angle))
        window = math.ceil((side + 2 * margin) * spread / 2) * 2 + 2
        if angle and window <= min(extents):
            x, y = (int(choose.integers(extent - window + 1)) for extent in extents)
            rotated = Image.fromarray(photo[y : y + window, x : x + window])
            rotated = rotated.rotate(math.degrees(angle), Image.Resampling.BICUBIC)
            inset = window // 2 - side // 2 - margin
            part = rotated.crop((inset, inset, window - inset, window - inset))
            left = top = margin
        else:
            x, y = max(0, left - margin), max(0, top - margin)
            part = Image.fromarray(photo[y : top + side + margin, x : left + side + margin])
            left, top = left - x, top - y
        return part, (left, top, left + side, top + side)


def batches(start: int, steps: int, batch: int, rank: int, world: int) -> Iterator[list[int]]:
    """The samples of process `rank` of `world` for each step from `start` to `steps`: a fixed part of each global
    batch."""
    share = batch // world
    for step in range(start, steps):
        first = step * batch + rank * share
        yield list(range(first, first + share))


def _groups(photos: Sequence[Path], shares: Mapping[str, float]) -> list[tuple[float, list[Path]]]:
    """Each share with the photographs that it is about."""
    if not shares:
        return [(1.0, list(photos))]
    groups = [(share, [p for p in photos if p.parent.name.startswith(name)]) for name, share in shares.items()]
    for name, (_, paths) in zip(shares, groups, strict=True):
        if not paths:
            raise DataError(
                f"No folder whose name starts with {name!r} has photographs; correct `shares` in the recipe."
            )
    return groups


def _refuse_small(path: Path, pixels: Pixels8, side: int) -> None:
    height, width, _ = pixels.shape
    if min(height, width) < side:
        raise DataError(f"{path} has {width}x{height} pixels, but a patch needs {side}; take it out of the folder.")


def _to_tensor(image: Image.Image, steps: tuple[int, ...]) -> Tensor:
    vertical, horizontal = steps
    pixels = np.asarray(image)[::vertical, ::horizontal].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels))
