"""The encoders: from bands of rows to the bytes of a file format.

PNG and TIFF are written here because Pillow has no colour pictures of 16 bits or floating point, and because this needs
only a few bands in memory beside the picture. The other formats are written by Pillow, which needs an 8-bit copy.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..util import in_order
from . import exif, jpeg, photoshop, png, png_filter, tiff, xmp
from .attachments import Attachments
from .picture import Bits, JpegEncoding, Subsampling
from .source import BAND_ROWS
from .tiff import LONG, SHORT, UNDEFINED, KeptEntry, NewEntry, numbers_entry

_TIFF_LEVEL = 4  # of deflate
_BYTE = 1

COARSEST = 1858
"""Sum of libjpeg's luma quantisation table at quality 75."""


@dataclass(frozen=True)
class Raster:
    """The samples of one picture as its file stores them."""

    height: int
    width: int
    channels: int
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    bits: Bits
    band: Callable[[int], NDArray[Any]]
    """Makes the band that starts at a row: [rows, width, channels] of uint8, uint16 or float32. A band has `BAND_ROWS`
    rows, the last one fewer. Called from several threads."""

    @property
    def tops(self) -> range:
        """The first row of each band."""
        return range(0, self.height, BAND_ROWS)


def encode_png(stream: IO[bytes], raster: Raster, about: Attachments) -> None:
    """Write a PNG (W3C PNG, third edition) of 8 or 16 bits. Each thread makes, filters and compresses a band."""

    def chunk(name: bytes, data: bytes) -> None:
        stream.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))

    stream.write(b"\x89PNG\r\n\x1a\n")
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[raster.channels]
    chunk(b"IHDR", struct.pack(">IIBBBBB", raster.width, raster.height, raster.bits, colour_type, 0, 0, 0))
    for name, content in png.colour_chunks(about.colour):
        chunk(name, content)
    if about.icc is not None:
        chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(about.icc))
    if about.dpi is not None:
        chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in about.dpi), 1))  # per metre
    if about.exif is not None:
        chunk(b"eXIf", about.exif)
    if about.xmp is not None:
        chunk(b"iTXt", png.XMP_KEYWORD.encode() + b"\0\0\0\0\0" + about.xmp.encode())
    if about.iptc is not None:
        chunk(*png.text_chunk(png.raw_profile_text("8bim", about.iptc)))
    for text in about.text:
        chunk(*png.text_chunk(text))
    pixel = raster.channels * raster.bits // 8

    def deflated(top: int) -> tuple[NDArray[np.uint8], bytes]:
        """The filtered rows of a band, and the part of a deflate stream that encodes them."""
        samples = raster.band(top).astype(f">u{raster.bits // 8}", order="C", copy=False)
        filtered = png_filter.filtered(samples.view(np.uint8).reshape(len(samples), -1), pixel)
        return filtered, png_filter.deflated(filtered)

    chunk(b"IDAT", b"\x78\x5e")  # a zlib stream (RFC 1950) of deflate with its largest window
    checksum = zlib.adler32(b"")
    for filtered, data in in_order(deflated, raster.tops):
        checksum = zlib.adler32(filtered.data, checksum)
        chunk(b"IDAT", data)
    chunk(b"IDAT", b"\3\0" + struct.pack(">I", checksum))  # an empty last block
    chunk(b"IEND", b"")


def encode_tiff(stream: IO[bytes], raster: Raster, about: Attachments) -> None:
    """Write a TIFF 6.0 of one page and 8, 16 or 32 (floating point) bits, each band a deflated strip.

    The file starts with the unchanged EXIF data, so that all offsets in it stay valid. The file has its byte order.

    Raises:
        OverflowError: the file would be larger than a TIFF can address.
    """
    order = "<" if about.exif is None else tiff.Tiff(about.exif).order
    begin = tiff.header(order, 8) if about.exif is None else exif.without_main(about.exif)
    begin += bytes(-len(begin) % 8)
    entries = _tiff_entries(raster, about, order)
    count = len(raster.tops)

    def directory(offsets: list[int], counts: list[int]) -> bytes:
        strips = [numbers_entry(order, 273, LONG, *offsets), numbers_entry(order, 279, LONG, *counts)]
        return tiff.packed_directory(order, [*entries, *strips], len(begin))

    stream.write(tiff.header(order, len(begin)) + begin[8:])
    position = len(begin) + stream.write(directory([0] * count, [0] * count))
    offsets, counts = list[int](), list[int]()

    def strip(top: int) -> bytes:
        band = raster.band(top)
        if raster.bits == 32:
            return zlib.compress(band.astype(order + "f4", order="C").data, _TIFF_LEVEL)
        differences = np.array(band, order="C")
        differences[:, 1:] -= band[:, :-1]
        return zlib.compress(differences.astype(f"{order}u{raster.bits // 8}", copy=False).data, _TIFF_LEVEL)

    for data in in_order(strip, raster.tops):
        stream.write(data)
        offsets.append(position)
        counts.append(len(data))
        position += len(data)
        if position >= 2**32:
            raise OverflowError("it would be larger than the 4 GiB that a TIFF can hold")
    stream.seek(len(begin))
    stream.write(directory(offsets, counts))


def _tiff_entries(raster: Raster, about: Attachments, order: str) -> list[NewEntry | KeptEntry]:
    """The entries of the main directory, without the offsets of the strips."""
    layout: list[NewEntry] = [
        numbers_entry(order, 256, LONG, raster.width),
        numbers_entry(order, 257, LONG, raster.height),
        numbers_entry(order, 258, SHORT, *[raster.bits] * raster.channels),
        numbers_entry(order, 259, SHORT, 8),  # deflate
        numbers_entry(order, 262, SHORT, 2 if raster.channels >= 3 else 1),  # RGB, or grey with black as 0
        numbers_entry(order, 277, SHORT, raster.channels),
        numbers_entry(order, 278, LONG, BAND_ROWS),
        numbers_entry(order, 284, SHORT, 1),  # channels side by side
        numbers_entry(
            order, 317, SHORT, 1 if raster.bits == 32 else 2
        ),  # predictor: none, or the difference to the left
        numbers_entry(order, 339, SHORT, *[3 if raster.bits == 32 else 1] * raster.channels),
    ]
    if raster.channels in (2, 4):
        layout.append(numbers_entry(order, 338, SHORT, 2))  # alpha; colours not multiplied by it
    iptc = None if about.iptc is None else photoshop.iptc_of(about.iptc)
    blocks = {700: (_BYTE, None if about.xmp is None else about.xmp.encode()), 33723: (UNDEFINED, iptc),
              34377: (_BYTE, about.iptc), 34675: (UNDEFINED, about.icc)}  # fmt: skip
    layout += [NewEntry(tag, kind, len(data), data) for tag, (kind, data) in blocks.items() if data]
    new_tags = {entry.tag for entry in layout}
    kept = [] if about.exif is None else [entry for entry in exif.main_entries(about.exif) if entry.tag not in new_tags]
    if about.dpi is not None and not {282, 283} & {entry.tag for entry in kept}:
        kept = [entry for entry in kept if entry.tag != 296]
        layout += [tiff.ratio_entry(order, 282, about.dpi[0]), tiff.ratio_entry(order, 283, about.dpi[1]),
                   numbers_entry(order, 296, SHORT, 2)]  # fmt: skip
    return [*kept, *layout]


def encode_jpeg(
    stream: IO[bytes],
    raster: Raster,
    about: Attachments,
    *,
    quality: int | None,
    subsampling: Subsampling | None,
    like: JpegEncoding | None,
) -> None:
    """Write a JPEG through Pillow, followed by the gain map if there is one.

    Args:
        quality: 1 to 100; None: that of `like`, but at least 75; 95 without `like`.
        subsampling: None: that of `like`; 4:4:4 without `like`.
        like: how the source was compressed.
    """
    options: dict[str, Any] = {"quality": quality or 95, "subsampling": subsampling or "4:4:4"}
    if like is not None:
        options["subsampling"] = subsampling or like.subsampling
        if quality is None and sum(like.tables[0]) <= COARSEST and max(map(max, like.tables)) <= 255:
            options["quality"] = -1  # with another value Pillow scales the tables
            options["qtables"] = [list(table) for table in like.tables]
        elif quality is None:
            options["quality"] = 75
    segments, placeholder = b"", b""
    if about.xmp is not None:
        packet, extended = xmp.split(about.xmp, jpeg.MOST_XMP)
        name = "" if extended is None else xmp.identifier(extended)
        segments += jpeg.xmp_segments(packet.encode(), None if extended is None else extended.encode(), name)
    if about.iptc is not None:
        segments += jpeg.photoshop_segments(about.iptc)
    if about.gain_map_marker is not None:
        segments += jpeg.segment(0xE2, about.gain_map_marker)
    if about.gain_map is not None:
        placeholder = jpeg.multi_picture_segment(0, 0, 0)
        segments += placeholder
    segments += b"".join(jpeg.segment(0xFE, text.text.encode()) for text in about.text)
    options |= {"exif": jpeg.EXIF + about.exif if about.exif else b"", "extra": segments, "icc_profile": about.icc}
    options["dpi"] = about.dpi or (0, 0)
    if about.gain_map is None:
        _encode_with_pillow(stream, raster, format="JPEG", **options)
        return
    memory = BytesIO()
    _encode_with_pillow(memory, raster, format="JPEG", **options)
    stream.write(jpeg.with_gain_map(memory.getvalue(), about.gain_map, placeholder))


def encode_webp(stream: IO[bytes], raster: Raster, about: Attachments, *, quality: int) -> None:
    """Write a WebP through Pillow; lossless at quality 100, with the colours under transparency kept."""
    data = _exif_with_resolution(about)
    _encode_with_pillow(
        *(stream, raster),
        **{"format": "WebP", "quality": quality, "lossless": quality == 100, "exact": True, "exif": data or b""},
        **{"icc_profile": about.icc, "xmp": (about.xmp or "").encode()},
    )


def encode_avif(stream: IO[bytes], raster: Raster, about: Attachments, *, quality: int) -> None:
    """Write an AVIF through Pillow. EXIF has no orientation, because Pillow would rewrite EXIF that has one."""
    data = _exif_with_resolution(about)
    memory = BytesIO()
    _encode_with_pillow(
        *(memory, raster),
        **{"format": "AVIF", "quality": quality, "subsampling": "4:0:0" if raster.channels == 1 else "4:4:4"},
        **{"exif": b"" if data is None else exif.without_orientation(data), "icc_profile": about.icc},
        **{"xmp": (about.xmp or "").encode()},
    )
    content = bytearray(memory.getvalue())
    at = content.find(b"colrnclx", 0, 4096)
    if about.colour.cicp is not None and at >= 0:
        struct.pack_into(">HH", content, at + 8, *about.colour.cicp[:2])  # Pillow always writes sRGB
    stream.write(content)


def encode_bmp(stream: IO[bytes], raster: Raster, about: Attachments) -> None:
    """Write a BMP through Pillow."""
    _encode_with_pillow(stream, raster, format="BMP", dpi=about.dpi or (0, 0))


def _exif_with_resolution(about: Attachments) -> bytes | None:
    """EXIF for formats that store the resolution only there."""
    return about.exif if about.dpi is None else exif.with_resolution(about.exif, about.dpi)


def _encode_with_pillow(stream: IO[bytes], raster: Raster, **options: Any) -> None:
    """Let Pillow write 8-bit samples. `options` are those of Image.save, including `format`."""
    image = Image.new({1: "L", 3: "RGB", 4: "RGBA"}[raster.channels], (raster.width, raster.height))
    for top, band in zip(raster.tops, in_order(raster.band, raster.tops), strict=True):
        image.paste(Image.fromarray(band[..., 0] if raster.channels == 1 else band), (0, top))
    image.save(stream, **options)
