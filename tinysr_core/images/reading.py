"""Read a picture file into a `Picture`, with everything that a `Picture` can hold."""

import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import PictureError, installs
from . import deep, metadata
from .decoders import jpeg_encoding, kind_of, load_truncated, load_whole, open_image, stated_bits
from .picture import JpegEncoding, Note, Picture
from .pillow_samples import pillow_samples
from .source import DAMAGE, Source
from .stored import Stored, profile_kind, upright
from .tiff import FileBytes, Tiff

MAX_PIXELS = 256_000_000
"""Default limit for pictures that are opened: more than any camera makes, 3 GB as float32 RGB."""


def read_picture(path: str | Path, *, strict: bool = False, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF or (with the extra `formats`) HEIC file.

    The format is recognised by content, not by name. The picture is turned upright; grey stays grey; palettes and 1-bit
    pictures are expanded; CMYK and Lab become sRGB. Only the first frame or page is read. `Picture.notes` says what was
    converted or left out.

    Args:
        strict: refuse a truncated JPEG, instead of reading the part that is there.
        max_pixels: the largest picture that is read, in pixels. Checked before anything is decoded.

    Raises:
        PictureError: the file cannot be opened, is not a picture, is damaged, or has too many pixels.
    """
    path = Path(path)
    with _opened(path) as stream:
        return _picture(*_source(stream, path, max_pixels, strict))


def from_pil(image: Image.Image) -> Picture:
    """Convert a Pillow picture of any mode to a `Picture`: upright, with all metadata that Pillow has."""
    image.load()
    return _picture(pillow_samples(image), metadata.metadata_of(image), jpeg_encoding(image))


def read_rgb8(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read only the pixels, as upright RGB uint8 [H,W,3]: grey in three channels, transparency over mid-grey.

    Needs a third of the memory of `read_picture`, and refuses truncated files.

    Raises:
        PictureError: see `read_picture`.
    """
    with _opened(path) as stream:
        source, stored, _ = _source(stream, path, max_pixels, strict=True)
        orientation = stored.decoded_orientation()
        upright = np.empty((*_upright_sides(source, orientation), 3), np.uint8)
        pixels = np.moveaxis(_as_stored(np.moveaxis(upright, -1, 0), orientation), 0, -1)
        colours = 3 if source.channels >= 3 else 1
        top = 0
        for band in source.bands:
            values = band[..., :colours]
            if source.channels > colours:
                values = 0.5 + (values - 0.5) * band[..., colours:]
            pixels[top : top + len(band)] = np.rint(values * 255)
            top += len(band)
    return upright


@dataclass(frozen=True)
class Header:
    """What the header of a file says about its picture."""

    width: int
    height: int
    """Width and height of the upright picture, in pixels."""
    kind: str
    """Name of the format: PNG, JPEG, WebP, TIFF, AVIF, HEIC, GIF or BMP."""
    quantization: tuple[int, ...] | None = None
    """The first quantisation table of a JPEG, 64 values; None for other formats."""


def read_header(path: Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read size, format and quantisation of a picture file without decoding its pixels.

    Raises:
        PictureError: see `read_picture`, as far as the header shows it.
    """
    with _opened(path) as stream:
        kind, _ = kind_of(stream, path)
        if kind == "TIFF":
            tiff = Tiff(FileBytes(stream))
            found = deep.tiff_kind(tiff, tiff.directory(tiff.first))
            width, height, tables = found.width, found.height, dict[int, list[int]]()
        else:
            image = open_image(kind, stream, path)
            width, height = image.size
            tables = getattr(image, "quantization", {})
        _refuse_bomb(path, width, height, max_pixels)
        stream.seek(0)
        if metadata.read_metadata(kind, stream).decoded_orientation() > 4:
            width, height = height, width
        return Header(width, height, kind, tuple(tables[min(tables)]) if tables else None)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """Open the file; turn errors in the block into PictureError."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(f"{path} is a folder; give a picture file.")
        if not stat.S_ISREG(mode):
            names = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
            raise PictureError(f"{path} is {names.get(stat.S_IFMT(mode), 'a device')}; give a regular file.")
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise PictureError(f"There is no file {path}.") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} is too large to open safely ({error}).") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # from the file system, not from a decoder
            raise PictureError(f"{path} cannot be read: {error.strerror}.") from error
        raise PictureError(f"{path} is damaged or truncated and cannot be read ({error}).") from error


def _source(stream: IO[bytes], path: Path, max_pixels: int, strict: bool) -> tuple[Source, Stored, JpegEncoding | None]:
    """The samples as stored, the metadata, and the compression of a JPEG."""
    kind, head = kind_of(stream, path)
    tiff_kind: deep.TiffKind | None = None
    if kind == "TIFF":
        tiff = Tiff(FileBytes(stream))
        tiff_kind = deep.tiff_kind(tiff, tiff.directory(tiff.first))
        _refuse_bomb(path, tiff_kind.width, tiff_kind.height, max_pixels)
        _refuse_kind(path, tiff_kind)
    stored = metadata.read_metadata(kind, stream)
    stream.seek(0)
    if tiff_kind is not None and tiff_kind.is_deep and deep.can_read_deep():
        return deep.read_tiff(stream, tiff_kind), stored, None

    try:
        image = open_image(kind, stream, path)
    except SyntaxError:
        if tiff_kind is None or not deep.can_read_deep():
            raise
        stream.seek(0)  # a TIFF whose samples this version of Pillow does not know
        return deep.read_tiff(stream, tiff_kind), stored, None
    _refuse_bomb(path, *image.size, max_pixels)
    file_bits = stated_bits(kind, head) if tiff_kind is None else tiff_kind.bits
    if kind == "PNG" and file_bits == 16 and image.mode in ("RGB", "RGBA") and deep.can_read_deep():
        stream.seek(0)
        return deep.read_png(stream, image.info.get("icc_profile")), stored, None

    frames: int = getattr(image, "n_frames", 1)
    truncated = not load_whole(image) if kind == "JPEG" and not strict else False
    if truncated:
        image = load_truncated(stream)
    else:
        image.load()
    source = pillow_samples(image)
    if truncated:
        source.notes.append(Note("truncated", "The file is truncated; part of the picture is missing or blurred."))
    if frames > 1:
        source.notes.append(Note("frames", f"Only the first of {frames} frames was read."))
    if file_bits > source.bits:
        installable = kind in ("PNG", "TIFF") and not deep.can_read_deep()
        advice = f" (to keep them: {installs('formats')})" if installable else ""
        source.notes.append(Note("bits", f"{file_bits} bits per channel were read as {source.bits}{advice}."))
    metadata.add_decoded(kind, stream, image, stored)
    return source, stored, jpeg_encoding(image)


def _refuse_kind(path: Path, kind: deep.TiffKind) -> None:
    if kind.unreadable:
        raise PictureError(f"{path} is a TIFF with {kind.unreadable}; convert it to RGB of 8 or 16 bits first.")
    if kind.only_deep and not deep.can_read_deep():
        raise PictureError(f"{path} is a TIFF that needs more than Pillow; to read it: {installs('formats')}.")


def _refuse_bomb(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{path} has {width} x {height} pixels, over the limit of {max_pixels // 10**6:,} megapixels;"
            " scale it down first."
        )


def _picture(source: Source, stored: Stored, jpeg: JpegEncoding | None) -> Picture:
    """Turn the bands of `source` upright into one float32 picture, with the metadata of the file."""
    orientation = stored.decoded_orientation()
    colours = 3 if source.channels >= 3 else 1
    sides = _upright_sides(source, orientation)
    pixels = np.empty((1, colours, *sides), np.float32)
    alpha = np.empty((1, 1, *sides), np.float32) if source.channels > colours else None
    top = 0
    for band in source.bands:
        rows = slice(top, top + len(band))
        planes = np.moveaxis(band, -1, 0)
        _as_stored(pixels, orientation)[0, :, rows] = planes[:colours]
        if alpha is not None:
            _as_stored(alpha, orientation)[0, :, rows] = planes[colours:]
        top = rows.stop

    notes = [*source.notes, *stored.notes]
    icc = source.icc
    if icc is not None and (kind := profile_kind(icc)) != ("RGB" if colours == 3 else "grey"):
        about = "is damaged" if kind is None else f"is for {kind} and does not fit the picture"
        notes.append(Note("profile", f"The colour profile {about}; it was left out."))
        icc = None
    about = upright(stored, source.height, source.width)
    return Picture(
        pixels,
        alpha,
        icc=icc,
        colour=stored.colour,
        exif=about.exif,
        xmp=about.xmp,
        iptc=about.iptc,
        text=about.text,
        gain_map=about.gain_map,
        dpi=stored.resolution(),
        bits=source.bits,
        jpeg=jpeg,
        original_size=sides,
        notes=tuple(dict.fromkeys(notes)),
    )


def _upright_sides(source: Source, orientation: int) -> tuple[int, int]:
    """Height and width of the upright picture. Raises ValueError if it has no pixels."""
    if not source.height or not source.width:
        raise ValueError("it has no pixels")
    return (source.height, source.width) if orientation < 5 else (source.width, source.height)


def _as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of the upright [...,H,W] picture with rows and columns as in the file (EXIF 2.3, tag 0x0112)."""
    match orientation:
        case 2:
            return upright[..., ::-1]
        case 3:
            return upright[..., ::-1, ::-1]
        case 4:
            return upright[..., ::-1, :]
        case 5:
            return np.swapaxes(upright, -1, -2)
        case 6:
            return np.rot90(upright, 1, axes=(-2, -1))
        case 7:
            return np.swapaxes(upright[..., ::-1, ::-1], -1, -2)
        case 8:
            return np.rot90(upright, -1, axes=(-2, -1))
        case _:
            return upright
