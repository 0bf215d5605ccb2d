"""Photoshop image resources (8BIM blocks), which contain IPTC metadata in JPEG and TIFF files."""

import struct
from collections.abc import Iterator

IPTC = 0x0404
_KEPT = frozenset({IPTC, 0x0425, 0x040A, 0x040B, 0x041E})
"""Resources that are valid at any size: IPTC, its MD5 sum, copyright flag, URL, list of URLs."""
_CLIPPING_PATHS = range(0x07D0, 0x0BB8)
"""Paths, with points relative to the sides of the picture, and the name of the clipping path."""


def resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Identifier, name and data of each resource, up to the first damaged one."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        number, length = struct.unpack_from(">HB", block, at + 4)
        name = block[at + 7 : at + 7 + length]
        at += 6 + 1 + length + (length + 1) % 2
        if at + 4 > len(block):
            return
        (size,) = struct.unpack_from(">I", block, at)
        data = block[at + 4 : at + 4 + size]
        if len(data) < size:
            return
        yield number, name, data
        at += 4 + size + size % 2


def packed(number: int, name: bytes, data: bytes) -> bytes:
    """The bytes of one resource."""
    padded_name = bytes([len(name)]) + name + bytes((len(name) + 1) % 2)
    return (
        b"8BIM" + struct.pack(">H", number) + padded_name + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)
    )


def carried(block: bytes, upright: bool) -> bytes | None:
    """The resources that stay valid after resizing; None where there are none.

    `upright`: the stored picture was upright, so that its paths need no rotation.
    """
    kept = [
        packed(*resource)
        for resource in resources(block)
        if resource[0] in _KEPT or (upright and resource[0] in _CLIPPING_PATHS)
    ]
    return b"".join(kept) or None


def iptc_of(block: bytes) -> bytes | None:
    """The IPTC records; None where there are none."""
    return next((data for number, _, data in resources(block) if number == IPTC), None)
