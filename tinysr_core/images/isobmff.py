"""Read metadata and colours that decoders rewrite or omit from the boxes of AVIF and HEIC files.

The formats are ISO 14496-12 (boxes) and ISO 23008-12 (items).
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .tiff import Bytes

_MOST_BOXES = 10_000
_MOST_METADATA = 64 * 2**20


@dataclass
class HeifMetadata:
    """What an AVIF or HEIC file says besides its pixels."""

    exif: bytes | None = None
    xmp: bytes | None = None
    cicp: tuple[int, int, int, int] | None = None
    """Primaries, transfer function, matrix and full-range flag of the main picture (box `colr`, type nclx)."""
    mastering_display: bytes | None = None
    """24 bytes, in the layout of PNG's mDCV."""
    light_level: bytes | None = None
    """8 bytes, in the layout of PNG's cLLI."""
    gain_map: bool = False
    """Whether the file has one."""
    gain_map_xmp: bytes | None = None
    """The XMP packet of Apple's gain map."""


def read_heif(data: Bytes) -> HeifMetadata:
    """Read the box `meta`. Damaged parts are left out."""
    found = HeifMetadata()
    for name, start, end in _boxes(data, 0, len(data)):
        if name == b"meta":
            with suppress(struct.error, IndexError, ValueError):
                _read_meta(data, start + 4, end, found)
            break
    return found


def _boxes(data: Bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The type of each box, and the start and end of its content."""
    for _ in range(_MOST_BOXES):
        head = bytes(data[at : at + 16])
        if at + 8 > end or len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        start = at + 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            start = at + 16
        stop = end if size == 0 else at + size
        if stop < start or stop > end:
            return
        yield name, start, stop
        at = stop


def _read_meta(data: Bytes, start: int, end: int, found: HeifMetadata) -> None:
    boxes = {name: (at, stop) for name, at, stop in _boxes(data, start, end)}
    main = _primary_item(bytes(data[slice(*boxes[b"pitm"])])) if b"pitm" in boxes else 0
    kinds: dict[int, tuple[bytes, bytes]] = {}
    if b"iinf" in boxes:
        kinds = _item_kinds(data, *boxes[b"iinf"])
    found.gain_map = any(kind == b"tmap" for kind, _ in kinds.values())
    if b"iprp" in boxes:
        _read_properties(data, *boxes[b"iprp"], main, found)
    described = _described(data, *boxes[b"iref"]) if b"iref" in boxes else {}
    if b"iloc" in boxes:
        inside = boxes.get(b"idat", (0, 0))[0]
        parts = _item_parts(bytes(data[slice(*boxes[b"iloc"])]), inside)
        for item, (kind, detail) in kinds.items():
            if kind == b"Exif" and found.exif is None:
                content = _content(data, parts.get(item, []))
                skip = int.from_bytes(content[:4], "big")
                found.exif = content[4 + skip :] or None
            if kind == b"mime" and b"application/rdf+xml" in detail:
                packet = _content(data, parts.get(item, [])) or None
                if main in described.get(item, {main}):
                    found.xmp = found.xmp or packet
                elif packet is not None and b"HDRGainMap" in packet:
                    found.gain_map_xmp = packet


def _primary_item(content: bytes) -> int:
    return int.from_bytes(content[4:6] if content[0] == 0 else content[4:8], "big")


def _item_kinds(data: Bytes, start: int, end: int) -> dict[int, tuple[bytes, bytes]]:
    """Item -> its type, and the strings that follow it."""
    kinds: dict[int, tuple[bytes, bytes]] = {}
    version = bytes(data[start : start + 1])[0]
    for name, at, stop in _boxes(data, start + (6 if version == 0 else 8), end):
        content = bytes(data[at:stop])
        if name == b"infe" and content[0] >= 2:
            wide = 4 if content[0] == 3 else 2
            kinds[int.from_bytes(content[4 : 4 + wide], "big")] = content[6 + wide : 10 + wide], content[10 + wide :]
    return kinds


def _described(data: Bytes, start: int, end: int) -> dict[int, set[int]]:
    """Item of metadata -> the items that it describes (references of type cdsc)."""
    described: dict[int, set[int]] = {}
    wide = 4 if bytes(data[start : start + 1])[0] else 2
    for name, at, stop in _boxes(data, start + 4, end):
        if name == b"cdsc":
            content = bytes(data[at:stop])
            numbers = [int.from_bytes(content[i : i + wide], "big") for i in range(wide + 2, len(content), wide)]
            described.setdefault(int.from_bytes(content[:wide], "big"), set()).update(numbers)
    return described


def _item_parts(content: bytes, inside: int) -> dict[int, list[tuple[int, int]]]:
    """Item -> start and length of its parts in the file. `inside` is the start of the content of `idat`."""
    version = content[0]
    offset_size, length_size = content[4] >> 4, content[4] & 15
    base_size, index_size = content[5] >> 4, (content[5] & 15) if version else 0
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(content):
            raise ValueError("box iloc is truncated")
        return int.from_bytes(content[at - size : at], "big")

    items: dict[int, list[tuple[int, int]]] = {}
    for _ in range(number(2 if version < 2 else 4)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)  # index of the file
        base = number(base_size) + (inside if method == 1 else 0)
        parts: list[tuple[int, int]] = []
        for _ in range(number(2)):
            number(index_size)
            offset = number(offset_size)
            parts.append((base + offset, number(length_size)))
        items[item] = parts if method < 2 else []
    return items


def _content(data: Bytes, parts: list[tuple[int, int]]) -> bytes:
    if sum(length for _, length in parts) > _MOST_METADATA:
        return b""
    return b"".join(bytes(data[start : start + length]) for start, length in parts)


def _read_properties(data: Bytes, start: int, end: int, main: int, found: HeifMetadata) -> None:
    properties: list[tuple[bytes, bytes]] = []
    owned: list[int] = []
    for name, at, stop in _boxes(data, start, end):
        if name == b"ipco":
            properties = [(kind, bytes(data[a : min(b, a + 65536)])) for kind, a, b in _boxes(data, at, stop)]
        if name == b"ipma":
            owned += _owned(bytes(data[at:stop]), main)
    found.gain_map |= any(kind == b"auxC" and b"hdrgainmap" in content for kind, content in properties)
    for index in owned:
        kind, content = properties[index - 1] if 0 < index <= len(properties) else (b"", b"")
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
            primaries, transfer, matrix, flags = struct.unpack_from(">HHHB", content, 4)
            found.cicp = primaries, transfer, matrix, flags >> 7
        elif kind == b"mdcv" and len(content) == 24:
            found.mastering_display = content[8:12] + content[:8] + content[12:]  # from green, blue, red
        elif kind == b"clli" and len(content) == 4:
            found.light_level = struct.pack(">II", *(10_000 * value for value in struct.unpack(">HH", content)))


def _owned(content: bytes, main: int) -> list[int]:
    """Indices of the properties of item `main`, from 1 (box `ipma`)."""
    version, wide = content[0], content[3] & 1
    (count,) = struct.unpack_from(">I", content, 4)
    at = 8
    for _ in range(min(count, _MOST_BOXES)):
        id_size = 2 if version < 1 else 4
        item, number = int.from_bytes(content[at : at + id_size], "big"), content[at + id_size]
        at += id_size + 1
        size = 2 if wide else 1
        if item == main:
            parts = (content[at + size * i : at + size * i + size] for i in range(number))
            return [int.from_bytes(part, "big") & (0x7FFF if wide else 0x7F) for part in parts]
        at += number * size
    return []
