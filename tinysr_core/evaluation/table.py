"""Tables of measurements, with the same pictures, scale and metrics for every method."""

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
"""Photographs are cropped to a multiple of this number of pixels, which the scales 2, 3 and 4 divide, or to the least
common multiple with another scale."""
SMALLEST = 24
"""Smallest side in pixels, so that SSIM's window fits inside the borders."""
METRICS = {"psnr": "PSNR-Y dB", "ssim": "SSIM-Y", "lpips": "LPIPS", "identity": "identity"}

Method = Callable[[Pixels8], Pixels8]
"""LR picture [h,w,3] -> SR picture [s*h,s*w,3]."""


@dataclass(frozen=True)
class Pair:
    """An LR picture and its original; RGB uint8 [H,W,3]."""

    name: str
    lr: Pixels8
    hr: Pixels8


@dataclass(frozen=True)
class Measurement:
    """The scores of one method on one picture."""

    data: str
    picture: str
    scale: int
    method: str
    psnr: float
    """PSNR of Y in dB; infinite for equal pictures."""
    ssim: float
    """SSIM of Y."""
    lpips: float | None
    """LPIPS (AlexNet) of the whole RGB picture; None if it was not measured."""
    identity: float | None = None
    """Distance of the faces, see `FaceRecognizer`; None if it was not measured, or the original shows no face."""


OnResult = Callable[[Measurement, Pair, Pixels8], None]
"""Called with a measurement, its pair, and the method's result."""


def load_pairs(folder: Path, scale: int) -> Iterator[Pair]:
    """The pairs of a data set.

    A folder with subfolders x2, x3 or x4 is a standard set with files `*_HR.png` and `*_LR.png`. Any other folder holds
    photographs: their bottom right is cropped to a multiple of 12 pixels and of `scale`, and antialiased bicubic makes
    the LR picture.

    Raises:
        DataError: there are no pictures of this scale, or a photograph is too small.
        PictureError: a picture cannot be read.
    """
    if not any(folder.glob("x[0-9]")):
        for path in list_photos([folder]):
            yield _shrunk(path, scale)
        return
    originals = sorted((folder / f"x{scale}").glob("*_HR.png"))
    if not originals:
        raise DataError(f"{folder} has no pictures for ×{scale}; leave it out or choose another scale.")
    for path in originals:
        lr = path.with_name(path.name.replace("_HR", "_LR"))
        yield Pair(path.stem.removesuffix("_HR"), decode(lr), decode(path))


def evaluate(
    folders: Iterable[Path],
    scale: int,
    methods: Mapping[str, Method],
    lpips: Lpips | None = None,
    on_result: OnResult = lambda row, pair, result: None,
    faces: FaceRecognizer | None = None,
) -> Iterator[Measurement]:
    """Measure each method on each picture of each folder; yield each measurement as soon as it is done.

    PSNR and SSIM leave out `scale` pixels at each edge.

    Args:
        folders: see `load_pairs`.
        scale: the upscaling factor of all methods.
        methods: the methods by their names in the table.
        lpips: measures LPIPS; None: not measured.
        on_result: called with each measurement and the pictures it is about.
        faces: measures identity; None: not measured.

    Raises:
        DataError: there are no pictures of this scale, or one is too small.
        PictureError: a picture cannot be read.
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
                on_result(row, pair, result)
                yield row


def interpolation(kernel: Kernel, scale: int) -> Method:
    """Plain interpolation with `kernel`."""

    def run(lr: Pixels8) -> Pixels8:
        height, width = lr.shape[:2]
        return to_8_bits(resize(to_float(lr), scale * height, scale * width, kernel))

    return run


def to_float(picture: Pixels8) -> NDArray[np.float32]:
    """uint8 [H,W,3] -> float32 [1,3,H,W] in [0,1]."""
    return picture.transpose(2, 0, 1)[None].astype(np.float32, order="C") / np.float32(255)


def to_8_bits(pixels: NDArray[np.float32]) -> Pixels8:
    """Float [1,3,H,W] -> uint8 [H,W,3], clamped to [0,1] and rounded."""
    return np.rint(pixels[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)


def as_markdown(rows: Sequence[Measurement]) -> str:
    """A table with mean ± standard deviation over the pictures, one line per data set and method."""
    metrics = [metric for metric in METRICS if metric != "identity" or any(row.identity is not None for row in rows)]
    heads = ["data", "method", *(METRICS[metric] for metric in metrics)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (data, method), group in _grouped(rows).items():
        cells = [_spread([getattr(row, metric) for row in group], metric) for metric in metrics]
        lines.append(f"| {data} ({len(group)}) | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Measurement]) -> str:
    """CSV with one line per picture and method."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Measurement.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(row) for row in rows)
    return text.getvalue()


def as_json(rows: Sequence[Measurement]) -> str:
    """JSON with one object per picture and method; an infinite PSNR is null."""
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
    multiple = math.lcm(CROP, scale)
    height, width = (length // multiple * multiple for length in hr.shape[:2])
    if min(height, width) < SMALLEST:
        raise DataError(f"{path} has a side below {SMALLEST} pixels; take it out of the folder.")
    hr = hr[:height, :width]
    return Pair(path.stem, to_8_bits(resize(to_float(hr), height // scale, width // scale)), hr)
