"""The bytes of EXIF data: patch a block in place, or build a new one from the directories of a TIFF file."""

import struct
from collections.abc import Iterable

from .tiff import LONG, SHORT, Directory, Entry, Tiff

DETAILS, GPS, INTEROP = 0x8769, 0x8825, 0xA005
"""Tags that point to the directories below the main one."""
_POINTERS = (DETAILS, GPS, INTEROP)


class Block:
    """A block of EXIF data to be patched in place.

    Raises:
        ValueError: there is no main directory.
    """

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        self.tiff = Tiff(self.data)
        if self.tiff.big:
            raise ValueError("EXIF cannot be a BigTIFF")
        self.main = self.tiff.directory(self.tiff.first)
        self.details = self.tiff.below(self.main, DETAILS)
        self.gps = self.tiff.below(self.main, GPS)
        self.interop = None if self.details is None else self.tiff.below(self.details, INTEROP)

    def set_number(self, entry: Entry, value: int) -> None:
        """Make `value` the only value of `entry`. A SHORT entry becomes LONG where `value` needs it."""
        kind = SHORT if entry.type == SHORT and value < 65536 else LONG
        packed = struct.pack(self.tiff.order + ("H" if kind == SHORT else "I"), value).ljust(4, b"\0")
        struct.pack_into(self.tiff.order + "HHI", self.data, entry.at, entry.tag, kind, 1)
        self.data[entry.at + 8 : entry.at + 12] = packed

    def remove(self, directory: Directory, entry: Entry) -> None:
        """Remove an entry from its directory. The list of entries becomes 12 bytes shorter; nothing else moves."""
        count = (directory.after - directory.at - 2) // 12
        struct.pack_into(self.tiff.order + "H", self.data, directory.at, count - 1)
        end = directory.after + 4
        self.data[entry.at : end] = self.data[entry.at + 12 : end] + bytes(12)

    def ranges(self, *directories: Directory | None) -> list[tuple[int, int]]:
        """Where the lists of entries and the values of `directories` are, as (start, end)."""
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
        """Erase the second directory and the thumbnail that it holds; truncate the data if they are at its end."""
        if not self.main.next:
            return
        spare = self.ranges(self.main, self.details, self.gps, self.interop)
        try:
            second = self.tiff.directory(self.main.next)
        except ValueError:
            erased: list[tuple[int, int]] = []
        else:
            erased = self.ranges(second)
            for offsets, sizes in ((513, 514), (273, 279)):
                starts, lengths = self.tiff.numbers(second, offsets, 0), self.tiff.numbers(second, sizes, 0)
                parts = [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
                erased += [(start, end) for start, end in parts if start >= 8 and end <= len(self.data)]
        struct.pack_into(self.tiff.order + "I", self.data, self.main.after, 0)
        self.erase(erased, spare)
        last = max(end for _, end in spare)
        for start, end in sorted(erased, key=lambda part: part[1], reverse=True):
            if start >= last and end <= len(self.data) and not any(self.data[end:]) and len(self.data) - end < 4:
                del self.data[start:]


class NewBlock:
    """A new block of EXIF data, made from the directories of a TIFF file.

    Args:
        unmoved: the maker note, if its value has to stay at its offset.
    """

    def __init__(self, tiff: Tiff, unmoved: Entry | None) -> None:
        self.data = bytearray(8)
        self._tiff = tiff
        self._cursor = 8
        self._unmoved = unmoved
        if unmoved is not None:
            self.data[8:] = bytes(unmoved.start - 8) + tiff.value(unmoved)

    def add(self, entries: dict[int, Entry], pointers: dict[int, int]) -> int:
        """Copy a directory with its values; return its offset.

        Args:
            entries: those of the directory, by tag.
            pointers: tag -> offset of each directory below it.
        """
        order = self._tiff.order
        kept = [
            entry
            for tag, entry in entries.items()
            if tag not in (DETAILS, GPS, INTEROP) and entry.size and entry.type < 16
        ]
        items = [(entry.tag, entry.type, entry.count, self._value_or_offset(entry)) for entry in kept]
        items += [(tag, LONG, 1, struct.pack(order + "I", offset)) for tag, offset in pointers.items()]
        table = struct.pack(order + "H", len(items))
        for tag, kind, count, value in sorted(items):
            table += struct.pack(order + "HHI", tag, kind, count) + value
        return self._append(table + bytes(4))

    def _value_or_offset(self, entry: Entry) -> bytes:
        """The last four bytes of an entry: its value, or the offset at which that is stored."""
        value = self._tiff.value(entry)
        if entry.size <= 4:
            return value.ljust(4, b"\0")
        offset = entry.start if entry is self._unmoved else self._append(value)
        return struct.pack(self._tiff.order + "I", offset)

    def _append(self, value: bytes) -> int:
        """Store `value` at the next even offset beside the maker note; return the offset."""
        if (
            self._unmoved is not None
            and self._cursor < self._unmoved.end
            and self._cursor + len(value) > self._unmoved.start
        ):
            self._cursor = self._unmoved.end + self._unmoved.end % 2
        start, end = self._cursor, self._cursor + len(value)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[start:end] = value
        self._cursor = end + end % 2
        return start
