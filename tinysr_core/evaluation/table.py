"""The fair table: the same pictures, scale and metrics for every method."""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..images import Pixels8, decode, list_photos
from ..loss import Lpips
from ..postprocess import Kernel, resize
from .identity import FaceRecognizer
from .metrics import lpips_distance, psnr_y, ssim_y

CROP = 12
"""Photographs are cropped to a multiple of this, which every scale from 2 to 4 divides."""
SMALLEST = 24
"""Below this many pixels a side, nothing would be left for the window of SSIM."""
METRICS = {"psnr": "PSNR-Y dB", "ssim": "SSIM-Y", "lpips": "LPIPS", "identity": "identity"}

Method = Callable[[Pixels8], Pixels8]
"""LR picture [h,w,3] -> SR picture [s*h,s*w,3]."""


@dataclass(frozen=True)
class Pair:
    """A picture to be upscaled and the original to compare with."""

    name: str
    lr: Pixels8
    hr: Pixels8


@dataclass(frozen=True)
class Measurement:
    """What one method reached on one picture."""

    data: str
    picture: str
    scale: int
    method: str
    psnr: float
    """PSNR of Y in dB; infinite where nothing differs."""
    ssim: float
    """SSIM of Y."""
    lpips: float | None
    """LPIPS (AlexNet) of the whole RGB picture; None where it was not asked for."""
    identity: float | None = None
    """Distance that a face recogniser sees; None where it was not asked for, or the original shows no face."""


See = Callable[[Measurement, Pair, Pixels8], None]
"""Called with a row, and the pictures it is about."""


def load_pairs(folder: Path, scale: int) -> Iterator[Pair]:
    """The pairs of a data set.

    A folder with subfolders x2, x3, x4 holds `*_HR.png` and `*_LR.png`, as the standard sets do. Any other folder holds
    photographs: they are cropped from the top left to a multiple of 12, and shrunk by antialiased bicubic to 8 bits.

    Raises:
        DataError: there are no pictures of this scale.
        PictureError: a picture cannot be read.
    """
    if not any(folder.glob("x[0-9]")):
        for path in list_photos([folder]):
            yield _shrunk(path, scale)
        return
    originals = sorted((folder / f"x{scale}").glob("*_HR.png"))
    if not originals:
        raise DataError(f"{folder} has no pictures for x{scale}; leave it out or choose another scale.")
    for path in originals:
        lr = path.with_name(path.name.replace("_HR", "_LR"))
        yield Pair(path.stem.removesuffix("_HR"), decode(lr), decode(path))


def evaluate(
    folders: Iterable[Path],
    scale: int,
    methods: Mapping[str, Method],
    lpips: Lpips | None = None,
    see: See = lambda row, pair, result: None,
    faces: FaceRecognizer | None = None,
) -> Iterator[Measurement]:
    """A row for each method on each picture of each folder, as they are done; `see` is shown each result.

    `scale` pixels of border are left out of PSNR and SSIM.
    """
    for folder in folders:
        for pair in load_pairs(folder, scale):
            for name, method in methods.items():
                result = method(pair.lr)
                row = Measurement(
                    folder.resolve().name,
                    pair.name,
                    scale,
                    name,
                    psnr_y(result, pair.hr, scale),
                    ssim_y(result, pair.hr, scale),
                    None if lpips is None else lpips_distance(lpips, result, pair.hr),
                    None if faces is None else faces.distance(result, pair.hr),
                )
                see(row, pair, result)
                yield row


def interpolation(kernel: Kernel, scale: int) -> Method:
    """Plain interpolation by `kernel`, the method to beat."""

    def run(lr: Pixels8) -> Pixels8:
        height, width = lr.shape[:2]
        return to_8_bits(resize(to_float(lr), scale * height, scale * width, kernel))

    return run


def to_float(picture: Pixels8) -> NDArray[np.float32]:
    """[H,W,3] of 8 bits -> [1,3,H,W] in [0,1]."""
    return picture.transpose(2, 0, 1)[None].astype(np.float32, order="C") / np.float32(255)


def to_8_bits(pixels: NDArray[np.float32]) -> Pixels8:
    """[1,3,H,W] -> [H,W,3], clamped and rounded."""
    return np.rint(pixels[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)


def as_markdown(rows: Sequence[Measurement]) -> str:
    """Mean ± standard deviation over the pictures of each data set, a line a method."""
    metrics = [metric for metric in METRICS if metric != "identity" or any(row.identity is not None for row in rows)]
    heads = ["data", "method", *(METRICS[metric] for metric in metrics)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (data, method), group in _grouped(rows).items():
        cells = [_spread([getattr(row, metric) for row in group], metric) for metric in metrics]
        lines.append(f"| {data} ({len(group)}) | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Measurement]) -> str:
    """A line for each picture and method."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Measurement.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(row) for row in rows)
    return text.getvalue()


def as_json(rows: Sequence[Measurement]) -> str:
    """An object for each picture and method; null for an infinite PSNR."""
    return json.dumps([_rounded(row, infinite=None) for row in rows], indent=1) + "\n"


def _rounded(row: Measurement, infinite: float | None = math.inf) -> dict[str, Any]:
    psnr = round(row.psnr, 4) if math.isfinite(row.psnr) else infinite
    lpips = None if row.lpips is None else round(row.lpips, 6)
    identity = None if row.identity is None else round(row.identity, 4)
    return {**asdict(row), "psnr": psnr, "ssim": round(row.ssim, 6), "lpips": lpips, "identity": identity}


def _grouped(rows: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for row in rows:
        groups.setdefault((row.data, row.method), []).append(row)
    return groups


def _spread(values: Sequence[float | None], metric: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if math.inf in known:
        return "∞"
    digits = 2 if metric == "psnr" else 4
    deviation = statistics.stdev(known) if len(known) > 1 else 0.0
    return f"{statistics.fmean(known):.{digits}f} ± {deviation:.{digits}f}"


def _shrunk(path: Path, scale: int) -> Pair:
    hr = decode(path)
    height, width = (length // CROP * CROP for length in hr.shape[:2])
    if min(height, width) < SMALLEST:
        raise DataError(f"{path} is smaller than {SMALLEST} pixels; take it out of the folder.")
    hr = hr[:height, :width]
    return Pair(path.stem, to_8_bits(resize(to_float(hr), height // scale, width // scale)), hr)
