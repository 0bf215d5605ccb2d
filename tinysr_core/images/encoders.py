"""The encoders: samples in bands of rows to the bytes of one file format.

PNG and TIFF are written here because Pillow has no colour pictures of 16 bits or floating point, and because this way
only one band is in memory beside the picture. The rest goes through Pillow, which needs one 8-bit copy.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..util import in_order
from .picture import Bits
from .source import BAND_ROWS

_LEVEL = 4  # of deflate


@dataclass(frozen=True)
class Raster:
    """The samples of one picture as a file shall hold them."""

    height: int
    width: int
    channels: int
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    bits: Bits
    bands: Iterator[NDArray[Any]]
    """Consecutive [rows, width, channels] of uint8, uint16 or float32; `BAND_ROWS` rows in all but the last."""


def encode_png(
    stream: IO[bytes], raster: Raster, *, icc: bytes | None, exif: bytes | None, dpi: tuple[float, float] | None
) -> None:
    """Write a PNG (W3C PNG, third edition) of 8 or 16 bits.

    All rows use the filter "Sub". With level 4 an upscaled photograph takes a quarter of Pillow's time (which tries
    all filters, level 6) and 8 % more bytes. Several threads compress, each a band that needs no other one.
    """

    def chunk(name: bytes, data: bytes) -> None:
        stream.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))

    stream.write(b"\x89PNG\r\n\x1a\n")
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[raster.channels]
    chunk(b"IHDR", struct.pack(">IIBBBBB", raster.width, raster.height, raster.bits, colour_type, 0, 0, 0))
    if icc is not None:
        chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi is not None:
        chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))  # per metre
    if exif is not None:
        chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    pixel = raster.channels * raster.bits // 8

    def deflated(band: NDArray[Any]) -> tuple[NDArray[np.uint8], bytes]:
        """The bytes of the filtered rows, and a part of a deflate stream that stands for them."""
        samples = band.astype(f">u{raster.bits // 8}", order="C")
        rows = np.reshape(np.frombuffer(samples.data, np.uint8), (len(band), -1))
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 1  # "Sub": each byte minus the same byte of the pixel to its left
        filtered[:, 1 : 1 + pixel] = rows[:, :pixel]
        np.subtract(rows[:, pixel:], rows[:, :-pixel], out=filtered[:, 1 + pixel :])
        deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS, strategy=zlib.Z_FILTERED)
        return filtered, deflate.compress(filtered.data) + deflate.flush(zlib.Z_SYNC_FLUSH)

    chunk(b"IDAT", b"\x78\x5e")  # a zlib stream (RFC 1950) of deflate with its largest window
    checksum = zlib.adler32(b"")
    for filtered, data in in_order(deflated, raster.bands):
        checksum = zlib.adler32(filtered.data, checksum)
        chunk(b"IDAT", data)
    chunk(b"IDAT", b"\3\0" + struct.pack(">I", checksum))  # an empty last block
    chunk(b"IEND", b"")


def encode_tiff(
    stream: IO[bytes], raster: Raster, *, icc: bytes | None, tables: dict[int, Any], dpi: tuple[float, float] | None
) -> None:
    """Write a TIFF 6.0 of one page and 8, 16 or 32 (floating point) bits, each band a deflated strip.

    `tables` are further tags; those of directories below the main one (EXIF, GPS) are dictionaries.

    Raises:
        OverflowError: the file would be larger than a TIFF can address.
    """
    directory = ImageFileDirectory_v2()
    for tag, value in tables.items():
        directory[tag] = value
    if dpi is not None:
        directory[282], directory[283], directory[296] = *dpi, 2  # per inch
    if icc is not None:
        directory[34675] = icc
    directory[256], directory[257] = raster.width, raster.height
    directory[258] = (raster.bits,) * raster.channels
    directory[259] = 8  # deflate
    directory[262] = 2 if raster.channels >= 3 else 1  # RGB, or grey with black as 0
    directory[277], directory[278] = raster.channels, BAND_ROWS
    directory[284] = 1  # channels side by side
    directory[317] = 1 if raster.bits == 32 else 2  # predictor: none, or the difference to the left
    if raster.channels in (2, 4):
        directory[338] = (2,)  # alpha; colours not multiplied by it
    directory[339] = (3 if raster.bits == 32 else 1,) * raster.channels

    # The directory stands before the strips; its size is known, where they end is not. Pillow adds that size to the
    # strip offsets. Their type is fixed, so that small numbers take as much room as large ones.
    directory.tagtype[273] = directory.tagtype[279] = 4
    places = [0] * -(-raster.height // BAND_ROWS)
    directory[273], directory[279] = tuple(places), tuple(places)
    stream.write(b"II*\0\x08\0\0\0")
    start = 8 + stream.write(directory.tobytes(8))
    position, offsets, counts = 0, list[int](), list[int]()

    def strip(band: NDArray[Any]) -> bytes:
        samples = band.astype("<f4" if raster.bits == 32 else f"<u{raster.bits // 8}", order="C")
        if raster.bits < 32:
            samples[:, 1:] -= band[:, :-1]
        return zlib.compress(samples.data, _LEVEL)

    for data in in_order(strip, raster.bands):
        stream.write(data)
        offsets.append(position)
        counts.append(len(data))
        position += len(data)
        if start + position >= 2**32:
            raise OverflowError("it would be larger than the 4 GiB which a TIFF can hold")
    directory[273], directory[279] = tuple(offsets), tuple(counts)
    stream.seek(8)
    stream.write(directory.tobytes(8))


def encode_with_pillow(stream: IO[bytes], raster: Raster, **options: Any) -> None:
    """Let Pillow write 8-bit samples; `options` are those of Image.save, `format` among them."""
    image = Image.new({1: "L", 3: "RGB", 4: "RGBA"}[raster.channels], (raster.width, raster.height))
    top = 0
    for band in raster.bands:
        image.paste(Image.fromarray(band[..., 0] if raster.channels == 1 else band), (0, top))
        top += len(band)
    image.save(stream, **options)
