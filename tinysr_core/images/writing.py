"""Write a picture file. It appears whole or not at all, and notes say what the format cannot hold."""

from functools import partial
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import PictureError, RequestError
from ..util import atomic_write
from . import encoders
from .attachments import Keep, kept, prepare
from .encoders import Raster
from .formats import FORMATS, Format
from .picture import Bits, FloatArray, Note, Picture, Subsampling
from .source import BAND_ROWS


def to_pil(picture: Picture) -> Image.Image:
    """Convert to a Pillow picture of 8 bits per channel: mode L, LA, RGB or RGBA, with the ICC profile."""
    bands = [picture.pixels[0]] if picture.alpha is None else [picture.pixels[0], picture.alpha[0]]
    samples = np.rint(np.concatenate(bands).transpose(1, 2, 0) * 255).astype(np.uint8)
    image = Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    return image


def write_picture(
    picture: Picture,
    path: str | Path,
    *,
    quality: int | None = None,
    subsampling: Subsampling | None = None,
    format: str | None = None,  # noqa: A002  (the word every picture library uses)
    keep: Keep = "all",
) -> tuple[Note, ...]:
    """Write `picture` to `path`. An existing file is replaced when the new one is complete.

    Args:
        quality: 1 to 100 for JPEG, WebP and AVIF; 100 makes WebP lossless. The other formats are always lossless.
            None: 95; 90 for AVIF; for a JPEG made from a JPEG the quality of its source, but at least 75.
        subsampling: chroma subsampling of a JPEG; None: that of the source if it is a JPEG, else 4:4:4.
        format: a key of `FORMATS`; None: by the suffix of `path`.
        keep: which metadata is written: "all"; "none": only colours and resolution; "no-gps": all but the GPS location.

    Returns:
        What the format cannot hold, one sentence each.

    Raises:
        RequestError: the quality is out of range, or `subsampling` or `keep` is unknown.
        PictureError: the format is unknown; the picture is too large for it, or has NaN or infinite values; the folder
            is not writable, or the disk is full. An existing file is unchanged then, and no other file remains.
    """
    path = Path(path)
    kind = _format(path, format)
    if quality is not None and not 1 <= quality <= 100:
        raise RequestError(f"The quality is {quality}; give a number from 1 to 100.")
    if keep not in get_args(Keep):
        raise RequestError(f"keep is {keep!r}; choose one of {', '.join(get_args(Keep))}.")
    if subsampling not in (None, *get_args(Subsampling)):
        raise RequestError(f"subsampling is {subsampling!r}; choose one of {', '.join(get_args(Subsampling))}.")
    if max(picture.height, picture.width) > kind.longest:
        raise PictureError(
            f"{kind.name} holds at most {kind.longest} pixels per side, and the picture has"
            f" {picture.width} x {picture.height}; write PNG or TIFF."
        )
    notes: list[Note] = []
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            _encode(stream, kept(picture, keep), kind, quality, subsampling, notes)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise PictureError(f"{path} cannot be written: {reason}.") from error
    return tuple(notes)


def _format(path: Path, name: str | None) -> Format:
    for key, kind in FORMATS.items():
        if name is None and path.suffix.lower() in kind.suffixes:
            return kind
        if name is not None and (name.lower() == key or f".{name.lower()}" in kind.suffixes):
            return kind
    wanted = f"with the suffix of {path.name}" if name is None else repr(name)
    raise PictureError(f"No format {wanted} can be written; choose one of {', '.join(FORMATS)}.")


def _encode(
    stream: IO[bytes],
    picture: Picture,
    kind: Format,
    quality: int | None,
    subsampling: Subsampling | None,
    notes: list[Note],
) -> None:
    raster = _raster(picture, kind, notes)
    about = prepare(picture, kind, grey=raster.channels <= 2, notes=notes)
    match kind.name:
        case "PNG":
            encoders.encode_png(stream, raster, about)
        case "TIFF":
            encoders.encode_tiff(stream, raster, about)
        case "JPEG":
            encoders.encode_jpeg(stream, raster, about, quality=quality, subsampling=subsampling, like=picture.jpeg)
        case "WebP":
            encoders.encode_webp(stream, raster, about, quality=quality or 95)
        case "AVIF":
            encoders.encode_avif(stream, raster, about, quality=quality or 90)
        case _:
            encoders.encode_bmp(stream, raster, about)


def _raster(picture: Picture, kind: Format, notes: list[Note]) -> Raster:
    """The samples of `picture`, in the closest form that `kind` can hold."""
    bits = picture.bits
    if bits not in kind.bits:
        bits = kind.bits[-1]
        text = f"{kind.name} holds {bits} bits per channel; the picture's {picture.bits} were rounded to that."
        notes.append(Note("bits", text))
    alpha = picture.alpha
    if alpha is not None and 4 not in kind.channels:
        if alpha.min() < 1:
            notes.append(Note("transparency", f"{kind.name} holds no transparency; the picture was put on white."))
        wanted = picture.pixels.shape[1]
    else:
        wanted = picture.pixels.shape[1] + (alpha is not None)
    channels = min(count for count in kind.channels if count >= wanted and (count - wanted) % 2 == 0)
    return Raster(picture.height, picture.width, channels, bits, partial(_band, picture, channels, bits))


def _band(picture: Picture, channels: int, bits: Bits, top: int) -> NDArray[Any]:
    """`BAND_ROWS` rows from row `top`, as the file stores them."""
    rows = slice(top, top + BAND_ROWS)
    planes = picture.pixels[0, :, rows]
    alpha = None if picture.alpha is None else picture.alpha[0, :, rows]
    if alpha is not None and channels in (1, 3):
        planes = planes * alpha + (1 - alpha)
    if channels >= 3:
        planes = np.broadcast_to(planes, (3, *planes.shape[1:]))
    if alpha is not None and channels in (2, 4):
        planes = np.concatenate([planes, alpha])
    return _rounded(np.moveaxis(planes, 0, -1), bits)


def _rounded(values: FloatArray, bits: Bits) -> NDArray[Any]:
    """Round [0,1] to integer levels, halves up; floating point is unchanged."""
    if not np.isfinite(values).all():
        raise PictureError("The picture has NaN or infinite values; nothing was written.")
    if bits == 32:
        return np.ascontiguousarray(values)
    steps = values.clip(0, 1)
    steps *= 2**bits - 1
    steps += 0.5
    return np.ascontiguousarray(steps, np.uint8 if bits == 8 else np.uint16)  # the cast truncates
