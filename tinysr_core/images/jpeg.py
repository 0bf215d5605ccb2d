"""The segments of JPEG files (ITU-T T.81, annex B): metadata, and further pictures after the main one."""

import hashlib
import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from .picture import GainMap
from .tiff import LONG, UNDEFINED, Bytes, NewEntry, Tiff, header, numbers_entry, packed_directory

_MOST = 65533
"""Bytes of content that one segment can hold."""
EXIF, XMP, XMP_EXTENSION = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP, ISO_GAIN_MAP, CREDENTIALS = b"Photoshop 3.0\0", b"urn:iso:std:iso:ts:21496:-1\0", b"JP"
_MULTI_PICTURE = b"MPF\0"
_PART = 65400 - 75
"""Bytes of extended XMP in one segment."""

MOST_EXIF = _MOST - len(EXIF)
MOST_XMP = _MOST - len(XMP)
MOST_COMMENT = _MOST
"""Bytes of EXIF, XMP or a comment that one segment can hold."""

_APPLE_GAIN_MAP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/">'
    b"<HDRGainMap:HDRGainMapVersion>65536</HDRGainMap:HDRGainMapVersion></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def segments(data: Bytes, start: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """The marker of each segment before the pixels, and the offset and bytes of its content.

    `start` is the offset of the JPEG file in `data`.
    """
    at = start + 2
    while True:
        head = bytes(data[at : at + 4])
        if len(head) < 4 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # a fill byte
            at += 1
            continue
        if head[1] in (0xDA, 0xD9):
            return
        (length,) = struct.unpack_from(">H", head, 2)
        yield head[1], at + 4, bytes(data[at + 4 : at + 2 + length])
        at += 2 + max(2, length)


def extended_xmp(parts: list[bytes], named: str) -> str | None:
    """The extended XMP packet with the name `named`, from the contents of segments; None where it is incomplete."""
    pieces: dict[int, bytes] = {}
    total = 0
    for part in parts:
        name, size, offset = struct.unpack_from(">32sII", part, len(XMP_EXTENSION))
        if name.decode("ascii", "replace") == named:
            pieces[offset], total = part[len(XMP_EXTENSION) + 40 :], size
    whole = b"".join(pieces[offset] for offset in sorted(pieces))
    if not whole or len(whole) != total or hashlib.md5(whole, usedforsecurity=False).hexdigest().upper() != named:
        return None
    return whole.decode("utf-8", "replace")


def multi_pictures(data: Bytes) -> list[tuple[int, bytes]]:
    """The type code and the JPEG file of each picture after the main one (CIPA DC-007)."""
    found: list[tuple[int, bytes]] = []
    for marker, at, content in segments(data):
        if marker != 0xE2 or not content.startswith(_MULTI_PICTURE):
            continue
        base = at + len(_MULTI_PICTURE)
        try:
            index = Tiff(content[len(_MULTI_PICTURE) :])
            table = index.block(index.directory(index.first), 0xB002) or b""
        except ValueError:
            return found
        for place in range(16, len(table) - 15, 16):
            kind, size, offset = struct.unpack_from(index.order + "III", table, place)
            picture = bytes(data[base + offset : base + offset + size])
            if picture.startswith(b"\xff\xd8") and len(picture) == size:
                found.append((kind & 0xFFFFFF, picture))
        break
    return found


def is_gain_map(picture: bytes) -> bool:
    """Whether the metadata of a further picture says that it is a gain map."""
    for _, _, content in segments(picture):
        if content.startswith(ISO_GAIN_MAP):
            return True
        if content.startswith(XMP) and (b"hdr-gain-map" in content or b"HDRGainMap" in content):
            return True
    return False


def segment(marker: int, content: bytes) -> bytes:
    """One segment with its marker and length."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def xmp_segments(packet: bytes, extended: bytes | None, name: str) -> bytes:
    """The segments of an XMP packet and, with the name `name`, of the extended packet."""
    result = segment(0xE1, XMP + packet)
    for at in range(0, len(extended or b""), _PART):
        part = (extended or b"")[at : at + _PART]
        head = XMP_EXTENSION + struct.pack(">32sII", name.encode(), len(extended or b""), at)
        result += segment(0xE1, head + part)
    return result


def photoshop_segments(block: bytes) -> bytes:
    """The segments of Photoshop image resources."""
    parts = [block[at : at + _MOST - len(PHOTOSHOP)] for at in range(0, len(block), _MOST - len(PHOTOSHOP))]
    return b"".join(segment(0xED, PHOTOSHOP + part) for part in parts)


def apple_gain_map(image: Image.Image, xmp: bytes | None) -> bytes:
    """A gain map of a HEIC file, as the JPEG file that Apple appends to a JPEG.

    `xmp` is the XMP packet of the map; None: a packet that says version 1.
    """
    stream = BytesIO()
    image.save(stream, "JPEG", quality=95, extra=segment(0xE1, XMP + (xmp or _APPLE_GAIN_MAP)))
    return stream.getvalue()


def resized_gain_map(gain_map: GainMap, height_factor: float, width_factor: float) -> bytes:
    """Turn a gain map upright and resize it; return a JPEG file with its own metadata.

    Raises:
        OSError, ValueError, SyntaxError: the map is damaged.
    """
    with Image.open(BytesIO(gain_map.jpeg), formats=["JPEG"]) as image:
        image.load()
        transpose = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(gain_map.orientation)
        upright = image if transpose is None else image.transpose(Image.Transpose(transpose))
        size = max(1, round(upright.width * width_factor)), max(1, round(upright.height * height_factor))
        larger = upright.resize(size, Image.Resampling.BICUBIC)
    about = b"".join(
        segment(marker, content)
        for marker, _, content in segments(gain_map.jpeg)
        if marker in (0xE1, 0xE2) and not content.startswith((_MULTI_PICTURE, EXIF))
    )
    stream = BytesIO()
    larger.save(stream, "JPEG", quality=92, subsampling="4:4:4", extra=about)
    return stream.getvalue()


def multi_picture_segment(main_size: int, map_size: int, offset: int) -> bytes:
    """The index of a main picture and one further picture, `offset` bytes after the header of the index."""
    entries = struct.pack(">IIIHH", 0x20030000, main_size, 0, 0, 0) + struct.pack(">IIIHH", 0, map_size, offset, 0, 0)
    directory = [
        NewEntry(0xB000, UNDEFINED, 4, b"0100"),
        numbers_entry(">", 0xB001, LONG, 2),
        NewEntry(0xB002, UNDEFINED, len(entries), entries),
    ]
    return segment(0xE2, _MULTI_PICTURE + header(">", 8) + packed_directory(">", directory, 8))


def with_gain_map(main: bytes, gain_map: bytes, placeholder: bytes) -> bytes:
    """Join two JPEG files by an index, which replaces `placeholder` (of the same length) in `main`."""
    at = main.index(placeholder)
    header_at = at + 4 + len(_MULTI_PICTURE)
    index = multi_picture_segment(len(main), len(gain_map), len(main) - header_at)
    return main[:at] + index + main[at + len(index) :] + gain_map
