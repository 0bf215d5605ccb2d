"""Read what Pillow cannot: PNG and TIFF with 16 bits or floating point in several channels, signed and Lab TIFF.

Needs the optional packages of the extra `formats` (imagecodecs for PNG, tifffile with imagecodecs for TIFF).
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import colour
from .picture import ColourTags, FloatArray, Note
from .source import BAND_ROWS, Source, unit_range
from .tiff import Directory, Tiff

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CIE_LAB, _ICC_LAB = 0, 1, 2, 8, 9
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_PREMULTIPLIED, _TRANSPARENCY = 1, 2
_PILLOW = {3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr"}
"""Photometric interpretations that only Pillow converts."""

_LAB_TO_XYZ = np.array([[1 / 116, 1 / 500, 0], [1 / 116, 0, 0], [1 / 116, 0, -1 / 200]], np.float32)
_D50 = np.array([0.9642, 1.0, 0.8249], np.float32)
_XYZ_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]],
    np.float32,
)
"""From XYZ under D50, adapted by Bradford's method (brucelindbloom.com)."""


def can_read_deep() -> bool:
    """Whether the extra `formats` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("tifffile", "imagecodecs"))


@dataclass(frozen=True)
class TiffKind:
    """How a TIFF stores its samples."""

    width: int
    height: int
    bits: int
    """Bits of the deepest channel."""
    photometric: int
    sample_format: int
    channels: int
    extra: int
    """Kind of the first extra channel (TIFF 6.0, ExtraSamples); 0: not stated, or there is none."""
    icc: bytes | None
    is_big_endian_bigtiff: bool = False
    """Pillow does not find the directory of such a file."""

    @property
    def unreadable(self) -> str | None:
        """What makes such samples unreadable, in words; None: they can be read."""
        if self.photometric in (32803, 34892):
            return "camera raw data"
        if self.photometric not in (*range(7), _CIE_LAB, _ICC_LAB):
            names = {10: "ITU Lab colours", 32844: "LogL samples", 32845: "LogLuv samples"}
            return names.get(self.photometric, f"colours of an unknown kind ({self.photometric})")
        if self.sample_format not in (_UNSIGNED, _SIGNED, _FLOAT, 4):
            return "complex numbers"
        if self.is_big_endian_bigtiff and self.photometric in _PILLOW:
            return f"{_PILLOW[self.photometric]} samples in a big-endian BigTIFF"
        return None

    @property
    def only_deep(self) -> bool:
        """Whether Pillow would refuse or misread these samples."""
        lab = self.photometric == _ICC_LAB or (self.photometric == _CIE_LAB and self.bits > 8)
        return self.sample_format == _SIGNED or lab or self.is_big_endian_bigtiff

    @property
    def is_deep(self) -> bool:
        """Whether `read_tiff` keeps more of these samples than Pillow does."""
        pillow_keeps_it = self.channels == 1 and (self.bits, self.sample_format) in {(16, _UNSIGNED), (32, _FLOAT)}
        return self.only_deep or (self.bits > 8 and not pillow_keeps_it and self.photometric not in _PILLOW)


def tiff_kind(tiff: Tiff, main: Directory) -> TiffKind:
    """How the samples of the first page are stored.

    Raises:
        ValueError: the page has no size.
    """
    width, height = tiff.number(main, 256), tiff.number(main, 257)
    if not width or not height:
        raise ValueError("the TIFF states no size")
    bits, formats = tiff.numbers(main, 258, 1), tiff.numbers(main, 339, _UNSIGNED)
    photometric = tiff.number(main, 262)
    channels = tiff.number(main, 277) or 1
    if photometric is None:
        photometric = _RGB if channels >= 3 else _BLACK_IS_ZERO
    return TiffKind(width, height, max(bits), photometric, max(formats), channels,
                    tiff.numbers(main, 338, 0)[0], tiff.block(main, 34675), tiff.big and tiff.order == ">")  # fmt: skip


def read_png(stream: IO[bytes], icc: bytes | None) -> Source:
    """The 16-bit samples of a PNG. A transparent colour becomes alpha.

    Raises:
        ValueError: the data is damaged.
    """
    import imagecodecs

    try:
        samples: NDArray[Any] = imagecodecs.png_decode(stream.read())
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    samples = np.atleast_3d(samples)
    height, width, channels = samples.shape
    return Source(height, width, channels, 16, _bands(samples, 65535, [], premultiplied=False), icc)


def read_tiff(stream: IO[bytes], kind: TiffKind) -> Source:
    """The samples of the first page of a TIFF: integers or floating point; grey, RGB or Lab; with or without alpha.

    Raises:
        ValueError: the data is damaged.
    """
    import tifffile

    notes: list[Note] = []
    try:
        file = tifffile.TiffFile(stream)
        page = file.pages.first
        samples: NDArray[Any] = page.asarray()
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, -1)
        if len(file.pages) > 1:
            notes.append(Note("frames", f"Only the first of {len(file.pages)} pages was read."))
    except (RuntimeError, tifffile.TiffFileError) as error:
        raise ValueError(str(error)) from error
    samples = np.atleast_3d(samples)

    colours = 1 if kind.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else 3
    extra = kind.extra if samples.shape[2] > colours else 0
    has_alpha = extra in (_PREMULTIPLIED, _TRANSPARENCY)
    kept = colours + has_alpha
    if samples.shape[2] < colours:
        raise ValueError(f"{samples.shape[2]} channels are too few")
    if samples.shape[2] > kept:
        text = f"{samples.shape[2] - kept} extra channel(s) that are not transparency were left out."
        notes.append(Note("channels", text))
        samples = samples[..., :kept]

    height, width, channels = samples.shape
    bits = 8 if kind.bits <= 8 else 16 if samples.dtype.itemsize == 2 and samples.dtype.kind in "ui" else 32
    if kind.photometric in (_CIE_LAB, _ICC_LAB):
        notes.append(Note("converted", "Lab was converted to sRGB."))
        srgb = colour.profile_of(ColourTags(srgb=0), grey=False)
        return Source(height, width, channels, bits, _lab_bands(samples, kind), srgb, notes)
    white = 1 if samples.dtype.kind == "f" else 2**kind.bits - 1
    if kind.sample_format == _SIGNED:
        notes.append(Note("converted", "Signed samples were converted to unsigned; the lowest value is black."))
        samples = samples.view(f"{samples.dtype.byteorder}u{samples.dtype.itemsize}") ^ np.array(
            1 << (kind.bits - 1), f"u{samples.dtype.itemsize}"
        )
    bands = _bands(samples, white, notes, premultiplied=extra == _PREMULTIPLIED)
    if kind.photometric == _WHITE_IS_ZERO:
        bands = _inverted(bands)
    return Source(height, width, channels, bits, bands, kind.icc, notes)


def _bands(samples: NDArray[Any], white: int, notes: list[Note], premultiplied: bool) -> Iterator[FloatArray]:
    for top in range(0, len(samples), BAND_ROWS):
        band = samples[top : top + BAND_ROWS]
        values = band.astype(np.float32) if white == 1 else (band / np.float64(white)).astype(np.float32)
        if premultiplied:
            alpha = values[..., -1:]
            values[..., :-1] /= np.where(alpha > 0, alpha, 1)
            if white != 1:
                values = values.clip(0, 1)
        yield unit_range(values, notes) if white == 1 else values


def _lab_bands(samples: NDArray[Any], kind: TiffKind) -> Iterator[FloatArray]:
    """Lab samples (TIFF 6.0 section 23 and TIFF technical note 4) as sRGB, with alpha if there is any."""
    for top in range(0, len(samples), BAND_ROWS):
        band = samples[top : top + BAND_ROWS]
        step = 256 if kind.bits == 16 else 1
        white = 2**kind.bits - 1
        lab = band[..., :3].astype(np.float32)
        if kind.photometric == _ICC_LAB:
            lab[..., 0] *= 100 / (255 * step)
            lab[..., 1:] = lab[..., 1:] / step - 128
        else:
            unsigned = band[..., :3].astype(f"u{band.dtype.itemsize}")
            lab[..., 0] = unsigned[..., 0] * (100 / white)
            lab[..., 1:] = unsigned[..., 1:].view(f"i{band.dtype.itemsize}") / np.float32(step)
        values = _srgb_of_lab(lab)
        if band.shape[2] > 3:
            values = np.concatenate([values, (band[..., 3:] / np.float32(white)).astype(np.float32)], -1)
        yield values


def _srgb_of_lab(lab: FloatArray) -> FloatArray:
    roots = lab @ _LAB_TO_XYZ.T + np.float32(16 / 116)
    xyz = np.where(roots > 6 / 29, roots**3, (roots - 16 / 116) * (108 / 841)) * _D50
    linear = (xyz @ _XYZ_TO_SRGB.T).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def _inverted(bands: Iterator[FloatArray]) -> Iterator[FloatArray]:
    for band in bands:
        band[..., 0] = 1 - band[..., 0]
        yield band
