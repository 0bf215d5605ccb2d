"""Recognise the format of a picture file by its content, and open it with Pillow's decoder for that format."""

from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
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
from . import png
from .deep import can_read_deep
from .picture import JpegEncoding, Subsampling

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def kind_of(stream: IO[bytes], path: Path) -> tuple[str, bytes]:
    """The name of the format, as in `Header.kind`, and the first bytes of the file. Rewinds the stream.

    Raises:
        PictureError: the file is empty, or of no format that is read.
    """
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
    raise PictureError(f"{path} is not a picture that can be read (PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF, HEIC).")


def open_image(kind: str, stream: IO[bytes], path: Path) -> ImageFile.ImageFile:
    """Open a picture of format `kind`: parse its header, decode no pixels.

    Image.open is avoided: it also tries formats that start other programs, and its size limit is global.

    Raises:
        PictureError: the format needs a package that is not installed.
        SyntaxError, OSError: the header is damaged.
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
        if can_read_deep():
            raise
        raise PictureError(
            f"{path} is a TIFF that needs more than Pillow; to read it: {installs('formats')}."
        ) from error


def stated_bits(kind: str, head: bytes) -> int:
    """Bits per channel in the header (PNG: IHDR; AVIF and HEIC: box `pixi` of ISO 23008-12); 8 where it has none."""
    if kind == "PNG":
        return head[24]
    at = head.find(b"pixi")
    return head[at + 9] if kind in ("AVIF", "HEIC") and 0 < at < len(head) - 9 else 8


def load_whole(image: ImageFile.ImageFile) -> bool:
    """Decode the pixels; False where the file is truncated."""
    try:
        image.load()
    except OSError as error:
        if "truncated" in str(error):
            return False
        raise
    return True


def load_truncated(stream: IO[bytes]) -> ImageFile.ImageFile:
    """Decode the part of a truncated JPEG that is there.

    Raises:
        OSError: no part of the picture is there.
    """
    stream.seek(0)
    image = JpegImagePlugin.JpegImageFile(BytesIO(stream.read() + b"\xff\xd9"))  # the end-of-image marker
    image.load()
    # Missing parts are flat. The first rows are ignored: decoders invent a few blocks there, and smooth them.
    below = image.crop((0, min(32, image.height - 1), *image.size))
    if np.ptp(np.asarray(below), axis=(0, 1)).max() <= 16:
        raise OSError("no part of the picture is there")
    return image


def jpeg_encoding(image: Image.Image) -> JpegEncoding | None:
    """How a JPEG that Pillow has opened was compressed."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    numbers = [layer[3] for layer in image.layer[:2]]
    tables = tuple(tuple(image.quantization[number]) for number in numbers if number in image.quantization)
    if not tables:
        return None
    known: dict[int, Subsampling] = {1: "4:2:2", 2: "4:2:0"}
    subsampling = known.get(JpegImagePlugin.get_sampling(image), "4:4:4")
    return JpegEncoding(tables, subsampling)
