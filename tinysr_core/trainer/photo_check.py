"""Choose the photographs for training and for validation, and say why the others are not used.

Needs no torch. `benchmarks/data_check.py` measures the limits on sharpness and JPEG quality.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from ..images import Pixels8, decode, jpeg_quality_of_table, map_photos, read_header, shrink_factor
from ..util import Progress, atomic_write
from .photo_duplicates import Hashes, group, perceptual_hash

MIN_PHOTOS, RECOMMENDED_PHOTOS = 4, 20
"""Number of photographs that training requires, and that it does well with."""
VALIDATION_SHARE, MAX_VALIDATION = 0.1, 16
"""Share of the photographs for validation; at least 2 and at most MAX_VALIDATION."""

WINDOW, GRID = 64, 8
"""Sharpness is measured in at most GRID x GRID windows with this side in pixels."""
SOFT, SOFTISH = 0.065, 0.085
"""Sharpness below which a photograph is not used, and below which it is used with a warning."""
POOR, FAIR = 50, 75
"""JPEG quality below which a photograph is not used, and below which it is used with a warning."""
GREY: NDArray[np.float64] = np.array([0.299, 0.587, 0.114])
"""Luma weights of RGB (BT.601)."""

Use = Literal["training", "validation", "none"]


@dataclass(frozen=True)
class Finding:
    """The result of the check for one photograph."""

    path: Path
    use: Use = "training"
    reason: str = ""
    """Why it is not used, or a warning; one of a few fixed texts, empty if there is nothing to report."""
    detail: str = ""
    """Details of the reason: the size, the error, the other photograph."""
    width: int = 0
    height: int = 0
    """In pixels, before EXIF orientation is applied."""
    quality: int | None = None
    """Quality of a JPEG, 1 to 100; None for other formats."""
    sharpness: float | None = None
    """See `sharpness`; None if the photograph was not decoded."""
    sha256: str = ""
    """SHA-256 of the file; empty if the photograph was not decoded."""
    hash: Hashes = field(default_factory=lambda: np.zeros(0, np.bool_), repr=False, compare=False)


@dataclass(frozen=True)
class DataCheck:
    """The result of the check for all photographs."""

    findings: Sequence[Finding]

    @property
    def training(self) -> list[Path]:
        return [finding.path for finding in self.findings if finding.use == "training"]

    @property
    def validation(self) -> list[Path]:
        return [finding.path for finding in self.findings if finding.use == "validation"]

    @property
    def problem(self) -> str | None:
        """Why training on these photographs is impossible; None if it is possible."""
        usable = len(self.training) + len(self.validation)
        if usable >= MIN_PHOTOS and len(self.training) >= 2:
            return None
        return (
            f"Only {usable} of {len(self.findings)} photographs can be used, but training needs {MIN_PHOTOS}. Add "
            f"photographs ({RECOMMENDED_PHOTOS} or more are recommended), or see why the others are not used."
        )

    def write(self, path: Path) -> None:
        """Write a CSV file with one line per photograph.

        Raises:
            OSError: the file cannot be written.
        """
        columns = ("path", "use", "reason", "detail", "width", "height", "quality", "sharpness", "sha256")
        with (
            atomic_write(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows([getattr(finding, column) for column in columns] for finding in self.findings)


def check_photos(
    photos: Sequence[Path],
    side: int,
    *,
    megapixels: float = 0.0,
    validation: Sequence[Path] | None = None,
    use_all: bool = False,
    progress: Progress = lambda done, total: None,
) -> DataCheck:
    """Check every photograph, and split them into training and validation.

    Args:
        photos: photographs for training, and for validation unless `validation` is given.
        side: smallest width and height in pixels.
        megapixels: larger photographs are shrunk first, see `DataConfig.megapixels`.
        validation: photographs for validation only. Near-duplicates of them among `photos` are not used. If None, some
            of `photos` are chosen by their contents, not by their names. Near-duplicates stay on the same side.
        use_all: whether to train on soft and strongly compressed photographs too.
        progress: called with the number of photographs checked, and the total.
    """
    everything = [*photos, *(validation or ())]
    findings: list[Finding] = []
    for finding in map_photos(partial(inspect, side=side, megapixels=megapixels), everything):
        findings.append(finding)
        progress(len(findings), len(everything))
    given, kept = findings[: len(photos)], findings[len(photos) :]
    given = [_rated(finding, use_all) for finding in given]
    kept = [replace(finding, use="validation") if finding.use == "training" else finding for finding in kept]
    findings = _without_copies([*kept, *given])
    usable = [index for index, finding in enumerate(findings) if finding.use != "none"]
    if not usable:
        return DataCheck(findings)
    groups = group(np.stack([findings[index].hash for index in usable]))
    chosen = set[int]() if validation is not None else _choose([findings[i].sha256 for i in usable], groups)
    for index, number in zip(usable, groups, strict=True):
        finding, first = findings[index], usable[number]
        path = str(findings[first].path)
        if index >= len(kept) > first:  # a near-duplicate of a given validation photograph
            finding = replace(finding, use="none", reason="much like one to validate with", detail=path)
        elif index != first and not finding.reason:
            finding = replace(finding, reason="much like another", detail=path)
        findings[index] = replace(finding, use="validation") if number in chosen else finding
    return DataCheck(sorted(findings, key=lambda finding: finding.path))


def inspect(photo: Path, side: int, megapixels: float = 0.0) -> Finding:
    """Check one photograph by itself: whether it can be read and is large enough; measure it."""
    finding = Finding(photo)
    try:
        header = read_header(photo)
        finding = replace(finding, width=header.width, height=header.height)
        factor = shrink_factor(header.width, header.height, megapixels)
        if min(header.width, header.height) // factor < side:
            shrunk = f", shrunk by {factor}" if factor > 1 else ""
            size = f"{header.width} x {header.height}{shrunk}; {side} are needed"
            return replace(finding, use="none", reason="too small", detail=size)
        pixels = decode(photo, megapixels)
        return replace(
            finding,
            quality=None if header.quantization is None else round(jpeg_quality_of_table(header.quantization)),
            sharpness=round(sharpness(pixels), 4),
            sha256=hashlib.sha256(photo.read_bytes()).hexdigest(),
            hash=perceptual_hash(pixels),
        )
    except (PictureError, OSError) as error:
        return replace(finding, use="none", reason="cannot be read", detail=str(error).removeprefix(f"{photo} "))


def sharpness(pixels: Pixels8) -> float:
    """Amplitude of high spatial frequencies (0.3 to 0.5 cycles per pixel) relative to middle ones (0.08 to 0.2).

    It is measured in the quarter of the windows with the most detail, so that a blurred background does not count.
    Sharp photographs have 0.1 or more. Those enlarged twice, or blurred by a pixel, have 0.05 or less.
    """
    height, width = (min(WINDOW, extent) for extent in pixels.shape[:2])
    tops, lefts = (
        np.unique(np.linspace(0, extent - min(WINDOW, extent), GRID).astype(int)) for extent in pixels.shape[:2]
    )
    windows = np.stack([pixels[y : y + height, x : x + width] @ GREY for y in tops for x in lefts])
    windows -= windows.mean((1, 2), keepdims=True)
    windows *= np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[1:-1]
    energy = np.square(np.abs(np.fft.rfft2(windows)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    fine, coarse = (
        energy[:, (frequency >= low) & (frequency < high)].mean(1) for low, high in ((0.3, 0.5), (0.08, 0.2))
    )
    most = np.argsort(coarse)[-max(1, len(coarse) // 4) :]
    return float(np.sqrt(fine[most].sum() / max(coarse[most].sum(), 1e-9)))


def _rated(finding: Finding, use_all: bool) -> Finding:
    """Exclude a soft or strongly compressed photograph, or add a warning."""
    if finding.sharpness is None:
        return finding
    quality = 100 if finding.quality is None else finding.quality
    soft = (finding.sharpness, SOFT, SOFTISH, "soft, or enlarged already", f"sharpness {finding.sharpness:.3f}")
    for measure, limit, warning, reason, detail in (soft, (quality, POOR, FAIR, "strong JPEG", f"quality {quality}")):
        if measure < limit and not use_all:
            return replace(finding, use="none", reason=reason, detail=detail)
        if measure < warning and not finding.reason:
            finding = replace(finding, reason=reason, detail=detail)
    return finding


def _without_copies(findings: Sequence[Finding]) -> list[Finding]:
    """Exclude files with the same contents as an earlier one."""
    first: dict[str, Finding] = {}
    kept: list[Finding] = []
    for finding in findings:
        if finding.use != "none" and first.setdefault(finding.sha256, finding) is not finding:
            other = first[finding.sha256]
            finding = replace(finding, use="none", reason="copy of another", detail=str(other.path))
        kept.append(finding)
    return kept


def _choose(digests: Sequence[str], groups: Sequence[int]) -> set[int]:
    """The groups for validation: in the order of their smallest digest, as many as fit."""
    if len(digests) < MIN_PHOTOS:
        return set()
    room = min(MAX_VALIDATION, max(2, round(VALIDATION_SHARE * len(digests))))
    members: dict[int, list[str]] = {}
    for digest, number in zip(digests, groups, strict=True):
        members.setdefault(number, []).append(digest)
    chosen: set[int] = set()
    for number in sorted(members, key=lambda number: min(members[number])):
        if len(members[number]) <= room:
            chosen.add(number)
            room -= len(members[number])
    return chosen
