"""EXIF data, patched in place.

Every byte stays where it is, because maker notes hold offsets into the whole block that nobody but the maker knows.
Only the orientation, the sizes and the thumbnail are changed. Tag numbers are those of EXIF 2.32 and TIFF 6.0.
"""

import struct
from collections.abc import Iterable

from .tiff import (
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    KeptEntry,
    NewEntry,
    Tiff,
    header,
    numbers_entry,
    packed_directory,
    ratio_entry,
)

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_DETAILS, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
_MAKER_NOTE, _USER_COMMENT, _IMAGE_DESCRIPTION = 0x927C, 0x9286, 270
_POINTERS = frozenset({_DETAILS, _GPS, _INTEROP})

_MAIN_SIZES = (0x100, 0x101)
_DETAIL_SIZES = (0xA002, 0xA003)
_INTEROP_SIZES = (0x1001, 0x1002)

_LAYOUT = frozenset(
    [*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, *range(317, 331), *range(332, 348)]
).union(range(512, 522), range(529, 533))
"""Tags of TIFF's main directory that describe how one file stores its pixels (strips, tiles, compression, bits)."""

_BLOCKS = frozenset([700, 33723, 34377, 34675, 37724])
"""Tags that hold another kind of metadata: XMP, IPTC, Photoshop, ICC profile, Photoshop's layers."""

_UNMOVED = 65536
"""A maker note of a TIFF file that begins below this stays at its offset in the EXIF data made of it."""


def orientation(exif: bytes) -> int | None:
    """How the stored pixels have to be turned, 1..8; None where the data does not say.

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
    """Pixels per inch, horizontal and vertical; None where the main directory does not say."""
    across, down = tiff.ratio(main, _X_RESOLUTION), tiff.ratio(main, _Y_RESOLUTION)
    per_inch = {2: 1.0, 3: 2.54}.get(tiff.numbers(main, _RESOLUTION_UNIT, 2)[0])
    if not across or not down or per_inch is None:
        return None
    return across * per_inch, down * per_inch


def upright(exif: bytes) -> bytes:
    """`exif` without thumbnail, for pixels that were turned upright.

    Raises:
        ValueError: the data is damaged.
    """
    block = _Block(exif)
    if entry := block.main.entries.get(_ORIENTATION):
        block.set_number(entry, 1)
    block.drop_thumbnail()
    return bytes(block.data)


def stamped(exif: bytes, height: int, width: int) -> bytes:
    """`exif` with the size tags that it has made true."""
    block = _Block(exif)
    for directory, tags in ((block.main, _MAIN_SIZES), (block.details, _DETAIL_SIZES), (block.interop, _INTEROP_SIZES)):
        for tag, value in zip(tags, (width, height), strict=True):
            if directory is not None and (entry := directory.entries.get(tag)):
                block.set_number(entry, value)
    return bytes(block.data)


def without_gps(exif: bytes) -> bytes:
    """`exif` without the place where the picture was taken."""
    block = _Block(exif)
    if entry := block.main.entries.get(_GPS):
        block.erase(block.ranges(block.gps), spare=block.ranges(block.main, block.details, block.interop))
        block.remove(block.main, entry)
    return bytes(block.data)


def without_orientation(exif: bytes) -> bytes:
    """`exif` without its orientation, for formats that say it in another way."""
    block = _Block(exif)
    while entry := block.main.entries.get(_ORIENTATION):  # damaged data may have several
        block.remove(block.main, entry)
        block = _Block(bytes(block.data))
    return bytes(block.data)


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """`exif` that says `dpi`, unless it says a resolution already."""
    tiff = Tiff(exif or header("<", 8) + bytes(6))
    if {_X_RESOLUTION, _Y_RESOLUTION} & set(tiff.directory(tiff.first).entries):
        return bytes(tiff.data[:])
    new = [ratio_entry(tiff.order, tag, value) for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True)]
    return _with_main(tiff, [*new, numbers_entry(tiff.order, _RESOLUTION_UNIT, SHORT, 2)])


def with_user_comment(exif: bytes | None, text: str) -> bytes | None:
    """`exif` with `text` as its user comment, where programs look for generation parameters; None: it has one."""
    tiff = Tiff(exif or header("<", 8) + bytes(6))
    main = tiff.directory(tiff.first)
    details = tiff.below(main, _DETAILS)
    if details is not None and _USER_COMMENT in details.entries:
        return None
    value = b"UNICODE\0" + text.encode("utf-16-le" if tiff.order == "<" else "utf-16-be")
    kept = [] if details is None else _kept(tiff, details)
    at = len(tiff.data) + len(tiff.data) % 2
    below = packed_directory(tiff.order, [*kept, NewEntry(_USER_COMMENT, UNDEFINED, len(value), value)], at)
    grown = Tiff(bytes(tiff.data[:]).ljust(at, b"\0") + below)
    return _with_main(grown, [numbers_entry(tiff.order, _DETAILS, LONG, at)])


def main_entries(exif: bytes) -> list[KeptEntry]:
    """The entries of the main directory that are true of the picture, not of one file's layout."""
    tiff = Tiff(exif)
    return [entry for entry in _kept(tiff, tiff.directory(tiff.first)) if entry.tag not in _LAYOUT | _BLOCKS]


def without_main(exif: bytes) -> bytes:
    """`exif` whose main directory is zeros, for a file that has a main directory elsewhere.

    A copy of it must not stay: where data points to it by mistake, some programs would go round in circles.
    """
    block = _Block(exif)
    block.erase([(block.main.at, block.main.after)], spare=[])
    return bytes(block.data)


def from_tiff(tiff: Tiff, main: Directory) -> bytes | None:
    """EXIF data of a TIFF file: the values are copied, their places are new (but see `_UNMOVED`)."""
    kept = {tag: entry for tag, entry in main.entries.items() if tag not in _LAYOUT | _BLOCKS | {_GPS, _DETAILS}}
    if _IMAGE_DESCRIPTION in kept and tiff.value(kept[_IMAGE_DESCRIPTION]).startswith(b'{"shape"'):
        del kept[_IMAGE_DESCRIPTION]  # tifffile's note about the size of the array
    details, gps = tiff.below(main, _DETAILS), tiff.below(main, _GPS)
    interop = None if details is None else tiff.below(details, _INTEROP)
    if not kept and details is None and gps is None:
        return None
    note = None if details is None else details.entries.get(_MAKER_NOTE)
    unmoved = note if note is not None and note.size > 4 and 8 <= note.start < _UNMOVED and not tiff.big else None
    block = _NewBlock(tiff, unmoved)
    pointers: dict[int, int] = {}
    if details is not None:
        inner = {} if interop is None else {_INTEROP: block.add(interop.entries, {})}
        pointers[_DETAILS] = block.add(details.entries, inner)
    if gps is not None:
        pointers[_GPS] = block.add(gps.entries, {})
    first = block.add(kept, pointers)
    block.data[:8] = header(tiff.order, first)
    return bytes(block.data)


class _Block:
    """EXIF data that is being patched.

    Raises:
        ValueError: there is no main directory.
    """

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        self.tiff = Tiff(self.data)
        if self.tiff.big:
            raise ValueError("EXIF cannot be a BigTIFF")
        self.main = self.tiff.directory(self.tiff.first)
        self.details = self.tiff.below(self.main, _DETAILS)
        self.gps = self.tiff.below(self.main, _GPS)
        self.interop = None if self.details is None else self.tiff.below(self.details, _INTEROP)

    def set_number(self, entry: Entry, value: int) -> None:
        """Make `value` the only value of `entry`, of type SHORT if it is that and holds it, else LONG."""
        kind = SHORT if entry.type == SHORT and value < 65536 else LONG
        packed = struct.pack(self.tiff.order + ("H" if kind == SHORT else "I"), value).ljust(4, b"\0")
        struct.pack_into(self.tiff.order + "HHI", self.data, entry.at, entry.tag, kind, 1)
        self.data[entry.at + 8 : entry.at + 12] = packed

    def remove(self, directory: Directory, entry: Entry) -> None:
        """Take one entry out of its directory; the list becomes 12 bytes shorter, nothing else moves."""
        count = (directory.after - directory.at - 2) // 12
        struct.pack_into(self.tiff.order + "H", self.data, directory.at, count - 1)
        end = directory.after + 4
        self.data[entry.at : end] = self.data[entry.at + 12 : end] + bytes(12)

    def ranges(self, *directories: Directory | None) -> list[tuple[int, int]]:
        """Where the lists of entries and the values of `directories` lie, as (start, end)."""
        found: list[tuple[int, int]] = []
        for directory in directories:
            if directory is not None:
                found.append((directory.at, min(directory.after + 4, len(self.data))))
                found += [(entry.start, entry.end) for entry in directory.entries.values() if entry.size > 4]
        return found

    def erase(self, ranges: Iterable[tuple[int, int]], spare: Iterable[tuple[int, int]]) -> None:
        """Overwrite `ranges` with zeros, except where they overlap with `spare`."""
        spare = sorted(spare)
        for start, end in ranges:
            for kept_start, kept_end in [*spare, (end, end)]:
                stop = min(kept_start, end)
                if start < stop:
                    self.data[start:stop] = bytes(stop - start)
                start = max(start, kept_end)

    def drop_thumbnail(self) -> None:
        """Erase the second directory with the small picture that it holds; cut it off where it is the end."""
        if not self.main.next:
            return
        spare = self.ranges(self.main, self.details, self.gps, self.interop)
        try:
            second = self.tiff.directory(self.main.next)
        except ValueError:
            gone: list[tuple[int, int]] = []
        else:
            gone = self.ranges(second)
            for offsets, sizes in ((513, 514), (273, 279)):
                starts, lengths = self.tiff.numbers(second, offsets, 0), self.tiff.numbers(second, sizes, 0)
                parts = [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
                gone += [(start, end) for start, end in parts if start >= 8 and end <= len(self.data)]
        struct.pack_into(self.tiff.order + "I", self.data, self.main.after, 0)
        self.erase(gone, spare)
        last = max(end for _, end in spare)
        for start, end in sorted(gone, key=lambda part: part[1], reverse=True):
            if start >= last and end <= len(self.data) and not any(self.data[end:]) and len(self.data) - end < 4:
                del self.data[start:]


class _NewBlock:
    """EXIF data that is being made from the directories of a TIFF file."""

    def __init__(self, tiff: Tiff, unmoved: Entry | None) -> None:
        self.data = bytearray(8)
        self._tiff = tiff
        self._cursor = 8
        self._unmoved = unmoved
        if unmoved is not None:
            self.data[8:] = bytes(unmoved.start - 8) + tiff.value(unmoved)

    def add(self, entries: dict[int, Entry], pointers: dict[int, int]) -> int:
        """Copy a directory with its values; `pointers` are the places of directories below. Returns its place."""
        order = self._tiff.order
        kept = [entry for tag, entry in entries.items() if tag not in _POINTERS and entry.size and entry.type < 16]
        items = [(entry.tag, entry.type, entry.count, self._placed(entry)) for entry in kept]
        items += [(tag, LONG, 1, struct.pack(order + "I", place)) for tag, place in pointers.items()]
        table = struct.pack(order + "H", len(items))
        for tag, kind, count, value in sorted(items):
            table += struct.pack(order + "HHI", tag, kind, count) + value
        return self._place(table + bytes(4))

    def _placed(self, entry: Entry) -> bytes:
        """The last four bytes of the entry: its value, or the place that it got."""
        value = self._tiff.value(entry)
        if entry.size <= 4:
            return value.ljust(4, b"\0")
        place = entry.start if entry is self._unmoved else self._place(value)
        return struct.pack(self._tiff.order + "I", place)

    def _place(self, value: bytes) -> int:
        if (
            self._unmoved is not None
            and self._cursor < self._unmoved.end
            and self._cursor + len(value) > self._unmoved.start
        ):
            self._cursor = self._unmoved.end + self._unmoved.end % 2
        place, end = self._cursor, self._cursor + len(value)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[place:end] = value
        self._cursor = end + end % 2
        return place


def _kept(tiff: Tiff, directory: Directory) -> list[KeptEntry]:
    return [KeptEntry(tag, bytes(tiff.data[entry.at : entry.at + 12])) for tag, entry in directory.entries.items()]


def _with_main(tiff: Tiff, new: list[NewEntry]) -> bytes:
    """The data with a main directory at its end that has the entries `new` besides, or in place of, the old ones."""
    main = tiff.directory(tiff.first)
    replaced = {entry.tag for entry in new}
    at = len(tiff.data) + len(tiff.data) % 2
    kept = [entry for entry in _kept(tiff, main) if entry.tag not in replaced]
    grown = without_main(bytes(tiff.data[:])).ljust(at, b"\0") + packed_directory(tiff.order, [*kept, *new], at)
    return header(tiff.order, at) + grown[8:]


def split_prefix(data: bytes) -> bytes:
    """EXIF data without the "Exif" and two zero bytes that JPEG puts before it."""
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    return data
