"""Sheets with the worst crop of a picture: the original, bicubic and the result side by side, at 1:1."""

import heapq
import itertools
import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..images import Pixels8
from ..util import atomic_write
from .metrics import luma
from .table import Measurement, Pair, interpolation

SIDE = 256
"""Side of the crops in pixels of the result."""
TITLE = 40
"""Height in pixels of the two lines above the crops."""


@dataclass
class Worst:
    """Keeps sheets of the `count` pictures with the lowest PSNR, for each of `methods`."""

    methods: Container[str]
    count: int
    _kept: dict[str, list[tuple[float, int, Image.Image, Measurement]]] = field(
        default_factory=dict[str, "list[tuple[float, int, Image.Image, Measurement]]"]
    )
    _number: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, row: Measurement, pair: Pair, result: Pixels8) -> None:
        """The callback `on_result` of `evaluate`."""
        if row.method not in self.methods:
            return
        kept = self._kept.setdefault(row.method, [])
        entry = (-row.psnr, next(self._number))
        if len(kept) < self.count:
            heapq.heappush(kept, (*entry, _draw(row, pair, result), row))
        elif self.count and entry > kept[0][:2]:
            heapq.heapreplace(kept, (*entry, _draw(row, pair, result), row))

    def write(self, folder: Path) -> list[Path]:
        """Write METHOD-RANK-DATA-PICTURE.png into `folder`; rank 1 is the worst. Returns the paths.

        Raises:
            OSError: the folder cannot be created or written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        for method, kept in self._kept.items():
            for rank, (_, _, sheet, row) in enumerate(sorted(kept, key=lambda entry: entry[:2], reverse=True), 1):
                name = re.sub(r"[^\w.+-]+", "_", f"{method}-{rank}-{row.data}-{row.picture}")
                paths.append(folder / f"{name}.png")
                with atomic_write(paths[-1]) as temporary:
                    sheet.save(temporary)
        return paths


def worst_window(result: Pixels8, original: Pixels8, side: int = SIDE) -> tuple[slice, slice]:
    """Rows and columns of the square with the largest mean squared error of Y; its side is at most `side` pixels."""
    error = np.square(luma(result) - luma(original))
    height, width = (min(side, length) for length in error.shape)
    total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(sums.argmax(), sums.shape))
    return slice(top, top + height), slice(left, left + width)


def _draw(row: Measurement, pair: Pair, result: Pixels8) -> Image.Image:
    window = worst_window(result, pair.hr)
    bicubic = interpolation("bicubic", row.scale)(pair.lr)
    crops = {"original": pair.hr, "bicubic": bicubic, row.method: result}
    height, width = pair.hr[window].shape[:2]
    gap = 4
    sheet = Image.new("RGB", (len(crops) * (max(width, SIDE) + gap) - gap, TITLE + height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    place = f"{row.data} {row.picture}, x{row.scale}, from {window[1].start}, {window[0].start}: {row.psnr:.2f} dB"
    pen.text((2, 2), place, "black", font)
    for i, (title, picture) in enumerate(crops.items()):
        left = i * (max(width, SIDE) + gap)
        pen.text((left + 2, TITLE // 2), title, "black", font)
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture[window])), (left, TITLE))
    return sheet
