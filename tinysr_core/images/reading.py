"""Reading a picture file of any usual kind, losing nothing that a `Picture` has a place for."""

import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..errors import PictureError, installs
from . import deep, metadata, png
from .metadata import Stored
from .picture import JpegEncoding, Note, Picture
from .shallow import shallow_source
from .source import DAMAGE, Source
from .tiff import FileBytes, Tiff

MAX_PIXELS = 256_000_000
"""Largest picture that is opened unless the caller says otherwise: above any camera's, 3 GB as float32 RGB."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def read_picture(path: str | Path, *, strict: bool = False, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF or (with the extra `formats`) HEIC file.

    The content decides, not the name. The picture comes upright; grey stays grey; palettes and 1-bit pictures are
    expanded; CMYK and Lab become sRGB. Of several frames or pages the first is read. Whatever was converted or left out
    stands in `Picture.notes`.

    Args:
        strict: refuse a JPEG that is cut off, instead of reading what is there.
        max_pixels: most pixels that the picture may have. This is known, and refused, before anything is decoded.

    Raises:
        PictureError: the file cannot be opened, is no picture, is damaged, or has too many pixels.
    """
    path = Path(path)
    with _opened(path) as stream:
        return _picture(*_source(stream, path, max_pixels, strict))


def from_pil(image: Image.Image) -> Picture:
    """A Pillow picture of any mode as a `Picture`, as `read_picture` makes it: upright, with all that Pillow knows."""
    image.load()
    return _picture(shallow_source(image), metadata.metadata_of(image), _jpeg_encoding(image))


def read_rgb8(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels alone, as upright RGB [H,W,3] of 8 bits: grey in all three channels, transparency laid over mid-grey.

    Takes what `read_picture` takes when it is strict, and a third of its memory.

    Raises:
        PictureError: as `read_picture` does.
    """
    with _opened(path) as stream:
        source, stored, _ = _source(stream, path, max_pixels, strict=True)
        orientation = stored.turn()
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
    """What a file says about its picture before any pixel is decoded."""

    width: int
    height: int
    """Size in pixels of the upright picture."""
    kind: str
    """Name of the format: PNG, JPEG, WebP, TIFF, AVIF, HEIC, GIF or BMP."""
    quantization: tuple[int, ...] | None = None
    """The first quantisation table of a JPEG."""


def read_header(path: Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Size and compression, without decoding.

    Raises:
        PictureError: as `read_picture` does, as far as the header shows it.
    """
    with _opened(path) as stream:
        kind, _ = _kind_of(stream, path)
        if kind == "TIFF":
            tiff = Tiff(FileBytes(stream))
            found = deep.tiff_kind(tiff, tiff.directory(tiff.first))
            width, height, tables = found.width, found.height, dict[int, list[int]]()
        else:
            image = _open(kind, stream, path)
            width, height = image.size
            tables = getattr(image, "quantization", {})
        _refuse_bomb(path, width, height, max_pixels)
        stream.seek(0)
        if metadata.read_metadata(kind, stream).turn() > 4:
            width, height = height, width
        return Header(width, height, kind, tuple(tables[min(tables)]) if tables else None)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """The file, in a block whose errors become sentences about it."""
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
        raise PictureError(f"{path} is too large to be opened safely ({error}).") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # from the file system, not from a decoder
            raise PictureError(f"{path} cannot be read: {error.strerror}.") from error
        raise PictureError(f"{path} is damaged or cut off and cannot be read ({error}).") from error


def _source(stream: IO[bytes], path: Path, max_pixels: int, strict: bool) -> tuple[Source, Stored, JpegEncoding | None]:
    """The samples as stored, what the file says besides them, and how it was compressed."""
    kind, head = _kind_of(stream, path)
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

    image = _open(kind, stream, path)
    _refuse_bomb(path, *image.size, max_pixels)
    file_bits = _stated_bits(kind, head) if tiff_kind is None else tiff_kind.bits
    if kind == "PNG" and file_bits == 16 and image.mode in ("RGB", "RGBA") and deep.can_read_deep():
        stream.seek(0)
        return deep.read_png(stream, image.info.get("icc_profile")), stored, None

    frames: int = getattr(image, "n_frames", 1)
    cut_off = not _load(image) if kind == "JPEG" and not strict else False
    if cut_off:
        image = _load_cut_off(stream)
    else:
        image.load()
    source = shallow_source(image)
    if cut_off:
        source.notes.append(Note("truncated", "The file is cut off; part of the picture is missing or blurred."))
    if frames > 1:
        source.notes.append(Note("frames", f"Only the first of {frames} frames was read."))
    if file_bits > source.bits:
        helps = (
            f" (to keep them: {installs('formats')})" if kind in ("PNG", "TIFF") and not deep.can_read_deep() else ""
        )
        source.notes.append(Note("bits", f"{file_bits} bits per channel were read as {source.bits}{helps}."))
    metadata.add_decoded(kind, stream, image, stored)
    return source, stored, _jpeg_encoding(image)


def _load(image: ImageFile.ImageFile) -> bool:
    """Decode the pixels; False where the file ends too early."""
    try:
        image.load()
    except OSError as error:
        if "truncated" in str(error):
            return False
        raise
    return True


def _load_cut_off(stream: IO[bytes]) -> ImageFile.ImageFile:
    """The picture of a JPEG that is cut off, decoded as far as it goes.

    Raises:
        OSError: nothing of it is there.
    """
    stream.seek(0)
    image = JpegImagePlugin.JpegImageFile(BytesIO(stream.read() + b"\xff\xd9"))  # as if it ended well
    image.load()
    # What is missing is flat. The first rows are left out: a decoder makes a few blocks of nothing, and smooths them.
    below = image.crop((0, min(32, image.height - 1), *image.size))
    if np.ptp(np.asarray(below), axis=(0, 1)).max() <= 16:
        raise OSError("no part of the picture is there")
    return image


def _jpeg_encoding(image: Image.Image) -> JpegEncoding | None:
    """How a JPEG that Pillow has opened was compressed."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    numbers = [layer[3] for layer in image.layer[:2]]
    tables = tuple(tuple(image.quantization[number]) for number in numbers if number in image.quantization)
    if not tables:
        return None
    subsampling = {1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "4:4:4")
    return JpegEncoding(tables, subsampling)


def _refuse_kind(path: Path, kind: deep.TiffKind) -> None:
    if kind.unreadable:
        raise PictureError(f"{path} is a TIFF with {kind.unreadable}; convert it to RGB of 8 or 16 bits first.")
    if kind.only_deep and not deep.can_read_deep():
        raise PictureError(f"{path} is a TIFF that needs more than Pillow; to read it: {installs('formats')}.")


def _kind_of(stream: IO[bytes], path: Path) -> tuple[str, bytes]:
    """The format, and the first bytes that tell it; the stream is at its beginning again."""
    head = stream.read(4096)
    stream.seek(0)
    return _kind(head, path), head


def _kind(head: bytes, path: Path) -> str:
    if not head:
        raise PictureError(f"{path} is empty (0 bytes).")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(_TIFF_STARTS):
        return "TIFF"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM"):
        return "BMP"
    if head[4:8] == b"ftyp":
        box = head[8 : int.from_bytes(head[:4], "big")]
        brands = {box[at : at + 4] for at in range(0, len(box), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIC"
    raise PictureError(f"{path} is not a picture that can be read here (PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF, HEIC).")


def _open(kind: str, stream: IO[bytes], path: Path) -> ImageFile.ImageFile:
    """Parse the header; pixels are decoded later.

    The decoders are named one by one instead of through Image.open: that would also try formats which start other
    programs, and it knows one size limit for the whole process.
    """
    match kind:
        case "PNG":
            return PngImagePlugin.PngImageFile(png.without_compressed_text(stream))
        case "JPEG":
            return JpegImagePlugin.JpegImageFile(stream)
        case "WebP":
            return WebPImagePlugin.WebPImageFile(stream)
        case "GIF":
            return GifImagePlugin.GifImageFile(stream)
        case "BMP":
            return BmpImagePlugin.BmpImageFile(stream)
        case "AVIF":
            return AvifImagePlugin.AvifImageFile(stream)
        case "HEIC":
            try:
                from pillow_heif import HeifImageFile
            except ImportError:
                raise PictureError(f"{path} is a HEIC picture; to read it: {installs('formats')}.") from None
            return HeifImageFile(stream)
        case _:
            return _open_tiff(stream, path)


def _open_tiff(stream: IO[bytes], path: Path) -> ImageFile.ImageFile:
    try:
        return TiffImagePlugin.TiffImageFile(stream)
    except SyntaxError as error:  # Pillow has no mode for these samples
        if deep.can_read_deep():
            raise
        raise PictureError(
            f"{path} is a TIFF that needs more than Pillow; to read it: {installs('formats')}."
        ) from error


def _refuse_bomb(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{path} says it is {width} x {height} pixels, over the limit of {max_pixels // 10**6:,} megapixels;"
            " if it can be trusted, raise the limit or scale it down first."
        )


def _stated_bits(kind: str, head: bytes) -> int:
    """Bits per channel that the header states (PNG: IHDR; AVIF and HEIC: box `pixi` of ISO 23008-12), else 8."""
    if kind == "PNG":
        return head[24]
    at = head.find(b"pixi")
    return head[at + 9] if kind in ("AVIF", "HEIC") and 0 < at < len(head) - 9 else 8


def _picture(source: Source, stored: Stored, jpeg: JpegEncoding | None) -> Picture:
    """Put the bands of `source` upright into one float picture, with what the file says about it."""
    orientation = stored.turn()
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
    if icc is not None and (kind := metadata.profile_kind(icc)) != ("RGB" if colours == 3 else "grey"):
        about = "is damaged" if kind is None else f"is for {kind} and does not fit the picture"
        notes.append(Note("profile", f"The colour profile {about}; it was left out."))
        icc = None
    about = metadata.upright(stored, source.height, source.width)
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
    """Height and width of the upright picture."""
    return (source.height, source.width) if orientation < 5 else (source.width, source.height)


def _as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of the upright [1,C,H,W] picture in which rows run as in the file (EXIF 2.3, tag 0x0112)."""
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
