"""Patches for training on a GPU whose memory holds them: cut there, or degraded by processes and kept there."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tinysr_core.images import decode
from tinysr_core.trainer.patches import KERNEL_REACH, DataConfig, PatchDataset

POOL = 8192
"""Pairs of patches that are kept on the device."""
CHUNK = 128
"""Pairs that a process makes at a time."""
WAITING = 8
"""Chunks that wait to be copied to the device, at most."""


class Patches(Protocol):
    """A source of pairs of patches on a device."""

    def draw(self) -> tuple[Tensor, Tensor]:
        """A batch of random LR [B,3,p,p] and HR [B,3,s*p,s*p] patches in [0,1]. A CUDA graph can hold this."""
        ...

    def refresh(self) -> None:
        """Replace old pairs by new ones. Called between steps."""
        ...


class CleanPatches:
    """Patches that the device cuts from photographs in its memory, and shrinks."""

    def __init__(self, photos: Sequence[Path], scale: int, config: DataConfig, device: torch.device) -> None:
        self.window = (config.patch + 2 * KERNEL_REACH) * scale
        decoded = [(path, decode(path)) for path in photos]
        decoded = [(path, pixels) for path, pixels in decoded if min(pixels.shape[:2]) >= self.window]
        self.pixels = torch.from_numpy(np.concatenate([pixels.reshape(-1) for _, pixels in decoded])).to(device)
        sizes = [pixels.size for _, pixels in decoded]
        rows = [(*pixels.shape[:2], start) for (_, pixels), start in zip(decoded, np.cumsum([0, *sizes]))]  # noqa: B905  # one start more
        self.height, self.width, self.start = torch.tensor(rows, device=device).T
        shares = np.zeros(len(decoded))
        for name, share in (config.shares or {"": 1.0}).items():
            fits = np.array([path.parent.name.startswith(name) for path, _ in decoded])
            shares += share * fits / fits.sum()
        self.cumulative = torch.from_numpy(np.cumsum(shares / shares.sum())).float().to(device)
        self.shrink = torch.from_numpy(bicubic_matrix(config.patch, scale)).to(device)
        self.batch, self.margin = config.batch, KERNEL_REACH * scale

    def draw(self) -> tuple[Tensor, Tensor]:
        device = self.pixels.device
        place, flip = torch.rand(3, self.batch, device=device), torch.rand(2, self.batch, 1, device=device) < 0.5
        photo = torch.searchsorted(self.cumulative, place[0]).clamp(max=len(self.start) - 1)
        along = torch.arange(self.window, device=device)
        sides = torch.stack([self.height[photo], self.width[photo]])
        first = (place[1:] * (sides - self.window + 1)).long()
        rows, columns = first[:, :, None] + torch.where(flip, self.window - 1 - along, along)
        index = self.start[photo, None, None] + 3 * (rows[:, :, None] * sides[1][:, None, None] + columns[:, None])
        window = self.pixels[index[:, None] + torch.arange(3, device=device)[:, None, None]].float()
        lr = (window @ self.shrink.T).round().clamp(0, 255)
        lr = (self.shrink @ lr).round().clamp(0, 255)
        inner = slice(self.margin, -self.margin)
        return _unit(lr), _unit(window[:, :, inner, inner])

    def refresh(self) -> None:
        pass  # every draw is new


class DegradedPatches:
    """Patches that processes degrade. The device keeps the last `POOL` ones, and draws from them.

    Make it before the process uses CUDA, because it forks.
    """

    def __init__(self, dataset: PatchDataset, workers: int, device: torch.device) -> None:
        config = dataset.config
        self.batch = config.batch
        made = iter(DataLoader(dataset, CHUNK, sampler=itertools.count(), num_workers=workers))
        self.chunks: Queue[tuple[Tensor, Tensor]] = Queue(WAITING)
        Thread(target=self._receive, args=(made,), daemon=True).start()
        sides = (config.patch, dataset.scale * config.patch)
        self.lr, self.hr = (torch.empty(POOL, 3, side, side, dtype=torch.uint8, device=device) for side in sides)
        self.next = 0
        for _ in range(POOL // CHUNK):
            self._store()

    def draw(self) -> tuple[Tensor, Tensor]:
        index = torch.randint(POOL, (self.batch,), device=self.lr.device)
        return _unit(self.lr[index]), _unit(self.hr[index])

    def refresh(self) -> None:
        while not self.chunks.empty():
            self._store()

    def _receive(self, made: Iterator[tuple[Tensor, Tensor]]) -> None:
        for chunk in made:
            self.chunks.put(chunk)

    def _store(self) -> None:
        for pool, patches in zip((self.lr, self.hr), self.chunks.get(), strict=True):
            pool[self.next : self.next + CHUNK] = patches.to(pool.device)
        self.next = (self.next + CHUNK) % POOL


def _unit(levels: Tensor) -> Tensor:
    return (levels.float() / 255).contiguous(memory_format=torch.channels_last)


def bicubic_matrix(patch: int, scale: int) -> np.ndarray:
    """Antialiased bicubic (a = -0.5) from the window of a patch to the patch: [p, (p + 4) * s], as Pillow's."""
    at = np.arange((patch + 2 * KERNEL_REACH) * scale)
    centres = (np.arange(patch) + KERNEL_REACH + 0.5) * scale
    x = np.abs(at + 0.5 - centres[:, None]) / scale
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
