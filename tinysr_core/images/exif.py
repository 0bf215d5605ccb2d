"""EXIF data: read it, and change what an upscaled picture makes wrong.

Data is patched in place: maker notes hold offsets into the whole block that only the maker knows, so every byte keeps
its offset. Only the orientation, the sizes and the thumbnail change. Tag numbers are those of EXIF 2.32 and TIFF 6.0.
"""

from .exif_block import DETAILS, GPS, INTEROP, Block, NewBlock
from .tiff import (
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    KeptEntry,
    NewEntry,
    Tiff,
    header,
    numbers_entry,
    packed_directory,
    ratio_entry,
)

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_MAKER_NOTE, _USER_COMMENT, _IMAGE_DESCRIPTION = 0x927C, 0x9286, 270

_MAIN_SIZES = (0x100, 0x101)
_DETAIL_SIZES = (0xA002, 0xA003)
_INTEROP_SIZES = (0x1001, 0x1002)

_LAYOUT = frozenset(
    [*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, *range(317, 331), *range(332, 348)]
).union(range(512, 522), range(529, 533))
"""Tags of TIFF's main directory that describe how one file stores its pixels (strips, tiles, compression, bits)."""

_BLOCKS = frozenset([700, 33723, 34377, 34675, 37724])
"""Tags that hold other metadata: XMP, IPTC, Photoshop resources, ICC profile, Photoshop layers."""

_UNMOVED = 65536
"""A maker note of a TIFF file at a lower offset than this keeps its offset in the EXIF data."""


def orientation(exif: bytes) -> int | None:
    """The orientation of the stored pixels, 1 to 8; None where the data has none.

    Raises:
        ValueError: the data is damaged.
    """
    tiff = Tiff(exif)
    return orientation_of(tiff, tiff.directory(tiff.first))


def orientation_of(tiff: Tiff, main: Directory) -> int | None:
    """`orientation` from a main directory."""
    found = tiff.number(main, _ORIENTATION)
    return found if found in range(1, 9) else None


def resolution(tiff: Tiff, main: Directory) -> tuple[float, float] | None:
    """Pixels per inch, horizontal and vertical; None where the main directory has none."""
    across, down = tiff.ratio(main, _X_RESOLUTION), tiff.ratio(main, _Y_RESOLUTION)
    per_inch = {2: 1.0, 3: 2.54}.get(tiff.numbers(main, _RESOLUTION_UNIT, 2)[0])
    if not across or not down or per_inch is None:
        return None
    return across * per_inch, down * per_inch


def upright(exif: bytes) -> bytes:
    """`exif` with upright orientation and without thumbnail, for pixels that were turned upright.

    Raises:
        ValueError: the data is damaged.
    """
    block = Block(exif)
    if entry := block.main.entries.get(_ORIENTATION):
        block.set_number(entry, 1)
    block.drop_thumbnail()
    return bytes(block.data)


def stamped(exif: bytes, height: int, width: int) -> bytes:
    """`exif` whose size tags, if it has any, say `height` and `width`.

    Raises:
        ValueError: the data is damaged.
    """
    block = Block(exif)
    for directory, tags in ((block.main, _MAIN_SIZES), (block.details, _DETAIL_SIZES), (block.interop, _INTEROP_SIZES)):
        for tag, value in zip(tags, (width, height), strict=True):
            if directory is not None and (entry := directory.entries.get(tag)):
                block.set_number(entry, value)
    return bytes(block.data)


def without_gps(exif: bytes) -> bytes:
    """`exif` without the GPS location.

    Raises:
        ValueError: the data is damaged.
    """
    block = Block(exif)
    if entry := block.main.entries.get(GPS):
        block.erase(block.ranges(block.gps), spare=block.ranges(block.main, block.details, block.interop))
        block.remove(block.main, entry)
    return bytes(block.data)


def without_orientation(exif: bytes) -> bytes:
    """`exif` without its orientation, for formats that store it elsewhere.

    Raises:
        ValueError: the data is damaged.
    """
    block = Block(exif)
    while entry := block.main.entries.get(_ORIENTATION):  # damaged data may have several
        block.remove(block.main, entry)
        block = Block(bytes(block.data))
    return bytes(block.data)


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """`exif` with the resolution `dpi` (pixels per inch, horizontal and vertical), unless it has one."""
    tiff = Tiff(exif or header("<", 8) + bytes(6))
    if {_X_RESOLUTION, _Y_RESOLUTION} & set(tiff.directory(tiff.first).entries):
        return bytes(tiff.data[:])
    new = [ratio_entry(tiff.order, tag, value) for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True)]
    return _with_main(tiff, [*new, numbers_entry(tiff.order, _RESOLUTION_UNIT, SHORT, 2)])


def with_user_comment(exif: bytes | None, text: str) -> bytes | None:
    """`exif` with `text` as its user comment, where programs look for generation parameters; None if it has one."""
    tiff = Tiff(exif or header("<", 8) + bytes(6))
    main = tiff.directory(tiff.first)
    details = tiff.below(main, DETAILS)
    if details is not None and _USER_COMMENT in details.entries:
        return None
    value = b"UNICODE\0" + text.encode("utf-16-le" if tiff.order == "<" else "utf-16-be")
    kept = [] if details is None else _kept(tiff, details)
    at = len(tiff.data) + len(tiff.data) % 2
    below = packed_directory(tiff.order, [*kept, NewEntry(_USER_COMMENT, UNDEFINED, len(value), value)], at)
    grown = Tiff(bytes(tiff.data[:]).ljust(at, b"\0") + below)
    return _with_main(grown, [numbers_entry(tiff.order, DETAILS, LONG, at)])


def main_entries(exif: bytes) -> list[KeptEntry]:
    """The entries of the main directory that describe the picture, not the layout of one file."""
    tiff = Tiff(exif)
    return [entry for entry in _kept(tiff, tiff.directory(tiff.first)) if entry.tag not in _LAYOUT | _BLOCKS]


def without_main(exif: bytes) -> bytes:
    """`exif` whose main directory is zeros, for a file that has its main directory elsewhere.

    A second copy could make programs loop where damaged data points to it.
    """
    block = Block(exif)
    block.erase([(block.main.at, block.main.after)], spare=[])
    return bytes(block.data)


def from_tiff(tiff: Tiff, main: Directory) -> bytes | None:
    """EXIF data of a TIFF file, None where it has none. Values get new offsets, except as `_UNMOVED` says."""
    kept = {tag: entry for tag, entry in main.entries.items() if tag not in _LAYOUT | _BLOCKS | {GPS, DETAILS}}
    if _IMAGE_DESCRIPTION in kept and tiff.value(kept[_IMAGE_DESCRIPTION]).startswith(b'{"shape"'):
        del kept[_IMAGE_DESCRIPTION]  # tifffile's description of the array
    details, gps = tiff.below(main, DETAILS), tiff.below(main, GPS)
    interop = None if details is None else tiff.below(details, INTEROP)
    if not kept and details is None and gps is None:
        return None
    note = None if details is None else details.entries.get(_MAKER_NOTE)
    unmoved = note if note is not None and note.size > 4 and 8 <= note.start < _UNMOVED and not tiff.big else None
    block = NewBlock(tiff, unmoved)
    pointers: dict[int, int] = {}
    if details is not None:
        inner = {} if interop is None else {INTEROP: block.add(interop.entries, {})}
        pointers[DETAILS] = block.add(details.entries, inner)
    if gps is not None:
        pointers[GPS] = block.add(gps.entries, {})
    first = block.add(kept, pointers)
    block.data[:8] = header(tiff.order, first)
    return bytes(block.data)


def _kept(tiff: Tiff, directory: Directory) -> list[KeptEntry]:
    return [KeptEntry(tag, bytes(tiff.data[entry.at : entry.at + 12])) for tag, entry in directory.entries.items()]


def _with_main(tiff: Tiff, new: list[NewEntry]) -> bytes:
    """The data with a new main directory at its end: the old entries, with those of `new` added or replaced."""
    main = tiff.directory(tiff.first)
    replaced = {entry.tag for entry in new}
    at = len(tiff.data) + len(tiff.data) % 2
    kept = [entry for entry in _kept(tiff, main) if entry.tag not in replaced]
    grown = without_main(bytes(tiff.data[:])).ljust(at, b"\0") + packed_directory(tiff.order, [*kept, *new], at)
    return header(tiff.order, at) + grown[8:]


def split_prefix(data: bytes) -> bytes:
    """EXIF data without the prefix "Exif\\0\\0" that JPEG has."""
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    return data
