"""Reading what Pillow cannot: PNG and TIFF with 16 bits or floating point in several channels.

Needs the optional packages of the extra `formats` (imagecodecs for PNG, tifffile with imagecodecs for TIFF).
"""

import importlib.util
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .picture import FloatArray
from .source import BAND_ROWS, Source, unit_range

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL = 258, 262, 277
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _SEPARATED = 0, 1, 2, 5
_UNSIGNED, _FLOAT = 1, 3
_PREMULTIPLIED, _TRANSPARENCY = 1, 2


def can_read_deep() -> bool:
    """Whether the extra `formats` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("tifffile", "imagecodecs"))


def bits_per_sample(tags: Image.Exif) -> int:
    """Bits of the deepest channel, from a TIFF's main directory."""
    return max(_values(tags, _BITS_PER_SAMPLE, 1))


def is_deep_tiff(tags: Image.Exif) -> bool:
    """Whether Pillow would refuse this TIFF or cut its samples to 8 bits although `read_tiff` would not."""
    bits, sample_format = bits_per_sample(tags), max(_values(tags, _SAMPLE_FORMAT, _UNSIGNED))
    one_channel = tags.get(_SAMPLES_PER_PIXEL, 1) == 1
    pillow_keeps_it = one_channel and (bits, sample_format) in {(16, _UNSIGNED), (32, _FLOAT)}
    return bits > 8 and not pillow_keeps_it and tags.get(_PHOTOMETRIC) != _SEPARATED


def read_png(stream: IO[bytes], icc: bytes | None) -> Source:
    """The 16-bit samples of a PNG; a transparent colour becomes alpha.

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


def read_tiff(stream: IO[bytes], tags: Image.Exif) -> Source:
    """The samples of a TIFF's first page: integers of any depth or floating point, grey or RGB, with or without alpha.

    Raises:
        ValueError: the data is damaged, or its kind (signed, Lab, YCbCr ...) is not supported.
    """
    import tifffile

    photometric = tags.get(_PHOTOMETRIC)
    sample_format = max(_values(tags, _SAMPLE_FORMAT, _UNSIGNED))
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or sample_format not in (_UNSIGNED, _FLOAT):
        raise ValueError(f"photometric {photometric} with sample format {sample_format} is not supported")
    notes: list[str] = []
    try:
        file = tifffile.TiffFile(stream)
        page = file.pages.first
        samples: NDArray[Any] = page.asarray()
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, -1)
        if len(file.pages) > 1:
            notes.append(f"Only the first of {len(file.pages)} pages was read.")
    except (RuntimeError, tifffile.TiffFileError) as error:
        raise ValueError(str(error)) from error
    samples = np.atleast_3d(samples)

    colours = 3 if photometric == _RGB else 1
    extra = _values(tags, _EXTRA_SAMPLES, 0)[0] if samples.shape[2] > colours else 0
    has_alpha = extra in (_PREMULTIPLIED, _TRANSPARENCY)
    kept = colours + has_alpha
    if samples.shape[2] > kept:
        notes.append(f"{samples.shape[2] - kept} extra channel(s) that are not transparency were left out.")
        samples = samples[..., :kept]

    white = 1 if sample_format == _FLOAT else 2 ** bits_per_sample(tags) - 1
    bands = _bands(samples, white, notes, premultiplied=extra == _PREMULTIPLIED)
    if photometric == _WHITE_IS_ZERO:
        bands = _inverted(bands)
    height, width, channels = samples.shape
    return Source(height, width, channels, 16 if samples.dtype == np.uint16 else 32, bands, tags.get(34675), notes)


def _bands(samples: NDArray[Any], white: int, notes: list[str], premultiplied: bool) -> Iterator[FloatArray]:
    for top in range(0, len(samples), BAND_ROWS):
        band = samples[top : top + BAND_ROWS]
        if white == 1:
            values = unit_range(band.astype(np.float32), notes)
        else:
            values = (band / np.float64(white)).astype(np.float32)
        if premultiplied:
            alpha = values[..., -1:]
            values[..., :-1] = (values[..., :-1] / np.where(alpha > 0, alpha, 1)).clip(0, 1)
        yield values


def _inverted(bands: Iterator[FloatArray]) -> Iterator[FloatArray]:
    for band in bands:
        band[..., 0] = 1 - band[..., 0]
        yield band


def _values(tags: Image.Exif, tag: int, missing: int) -> tuple[int, ...]:
    value: int | tuple[int, ...] = tags.get(tag, missing)
    return value if isinstance(value, tuple) else (value,)
