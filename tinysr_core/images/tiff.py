"""The directories of TIFF files (TIFF 6.0, section 2; BigTIFF). EXIF data is a TIFF file without pixels."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Protocol

SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_ENTRIES = 4096


class Bytes(Protocol):
    """Bytes in memory or in a file."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...


class FileBytes:
    """The bytes of an open file, read on demand."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._length = stream.seek(0, 2)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        self._stream.seek(start)
        return self._stream.read(max(0, stop - start))


@dataclass(frozen=True)
class Entry:
    """One entry of a directory. Positions are offsets in the file."""

    tag: int
    type: int
    count: int
    at: int
    """Start of the entry."""
    start: int
    """Start of its value, inside the entry or elsewhere."""
    size: int
    """Bytes of the value; 0 where the type is unknown."""

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Directory:
    """A directory of a TIFF. Positions are offsets in the file."""

    at: int
    entries: dict[int, Entry]
    """Tag -> entry; the first one of each tag."""
    after: int
    """End of its list of entries, where the offset of the next directory is stored."""
    next: int
    """Offset of the next directory, 0 after the last."""


class Tiff:
    """A TIFF structure in `data`.

    Raises:
        ValueError: the data does not start like a TIFF structure.
    """

    def __init__(self, data: Bytes) -> None:
        self.data = data
        head = bytes(data[:16])
        if head[:2] not in (b"II", b"MM") or len(head) < 8:
            raise ValueError("not a TIFF structure")
        self.order = "<" if head[:2] == b"II" else ">"
        version: int = struct.unpack_from(self.order + "H", head, 2)[0]
        if version not in (42, 43, 85) or (version == 43 and len(head) < 16):  # 85: Panasonic's raw files
            raise ValueError("not a TIFF structure")
        self.big = version == 43
        self.first: int = struct.unpack_from(self.order + ("8xQ" if self.big else "4xI"), head)[0]

    def directory(self, at: int) -> Directory:
        """The directory at offset `at`, without entries whose value is outside the data.

        Raises:
            ValueError: there is no directory.
        """
        entry_size, inline, count_size = (20, 8, 8) if self.big else (12, 4, 2)
        if not 8 <= at <= len(self.data) - count_size:
            raise ValueError("a directory is outside the file")
        count: int = struct.unpack(self.order + ("Q" if self.big else "H"), self.data[at : at + count_size])[0]
        table = at + count_size
        if count > _MOST_ENTRIES or table + count * entry_size > len(self.data):
            raise ValueError("a directory is damaged")
        raw = bytes(self.data[table : table + count * entry_size])
        entries: dict[int, Entry] = {}
        for index in range(count):
            place = index * entry_size
            tag, kind, number = struct.unpack_from(self.order + ("HHQ" if self.big else "HHI"), raw, place)
            size = _SIZES.get(kind, 0) * number
            start = table + place + entry_size - inline
            if size > inline:
                start = struct.unpack_from(self.order + ("Q" if self.big else "I"), raw, place + entry_size - inline)[0]
            if start + size <= len(self.data):
                entries.setdefault(tag, Entry(tag, kind, number, table + place, start, size))
        after = table + len(raw)
        link = bytes(self.data[after : after + inline])
        next_offset: int = struct.unpack(self.order + ("Q" if self.big else "I"), link)[0] if len(link) == inline else 0
        return Directory(at, entries, after, next_offset)

    def below(self, directory: Directory, tag: int) -> Directory | None:
        """The directory that entry `tag` points to; None where there is none, or it is damaged."""
        target = self.number(directory, tag)
        try:
            return None if target is None else self.directory(target)
        except ValueError:
            return None

    def value(self, entry: Entry) -> bytes:
        """The bytes of a value."""
        return bytes(self.data[entry.start : entry.end])

    def block(self, directory: Directory, tag: int) -> bytes | None:
        """The bytes of the value of entry `tag`; None where there is none."""
        entry = directory.entries.get(tag)
        return None if entry is None or not entry.size else self.value(entry)

    def numbers(self, directory: Directory, tag: int, missing: int) -> tuple[int, ...]:
        """The whole numbers of entry `tag`; `missing` alone where there are none."""
        entry = directory.entries.get(tag)
        if entry is None or entry.type not in _CODES or not 0 < entry.count <= 65536:
            return (missing,)
        return tuple(
            int(value) for value in struct.unpack(f"{self.order}{entry.count}{_CODES[entry.type]}", self.value(entry))
        )

    def number(self, directory: Directory, tag: int) -> int | None:
        """The first whole number of entry `tag`; None where there is none."""
        found = self.numbers(directory, tag, -1)[0]
        return None if found < 0 else found

    def ratio(self, directory: Directory, tag: int) -> float | None:
        """The first value of an entry of type RATIONAL; None where there is none."""
        entry = directory.entries.get(tag)
        if entry is None or entry.type != RATIONAL or not entry.count:
            return None
        above, under = struct.unpack(self.order + "II", self.value(entry)[:8])
        return above / under if under else None


@dataclass(frozen=True)
class NewEntry:
    """An entry to be written: `value` holds `count` values of `type` in the byte order of the file."""

    tag: int
    type: int
    count: int
    value: bytes


@dataclass(frozen=True)
class KeptEntry:
    """An entry whose 12 bytes are copied, because its value keeps its offset."""

    tag: int
    raw: bytes


def numbers_entry(order: str, tag: int, kind: int, *values: int) -> NewEntry:
    """An entry of type SHORT or LONG."""
    return NewEntry(tag, kind, len(values), struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values))


def ratio_entry(order: str, tag: int, value: float) -> NewEntry:
    """An entry of type RATIONAL with one value."""
    under = 1 if value == round(value) else 10_000
    return NewEntry(tag, RATIONAL, 1, struct.pack(order + "II", round(value * under), under))


def directory_size(entries: Iterable[NewEntry | KeptEntry]) -> int:
    """Bytes that `packed_directory` takes."""
    return 6 + sum(12 + (_even(len(entry.value)) if isinstance(entry, NewEntry) and len(entry.value) > 4 else 0)
                   for entry in entries)  # fmt: skip


def packed_directory(order: str, entries: Iterable[NewEntry | KeptEntry], at: int) -> bytes:
    """The bytes of the last directory of a file and of its values, for offset `at`."""
    ordered = sorted(entries, key=lambda entry: entry.tag)
    table, values = struct.pack(order + "H", len(ordered)), b""
    place = at + 6 + 12 * len(ordered)
    for entry in ordered:
        if isinstance(entry, KeptEntry):
            table += entry.raw
            continue
        table += struct.pack(order + "HHI", entry.tag, entry.type, entry.count)
        if len(entry.value) <= 4:
            table += entry.value.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", place + len(values))
            values += entry.value.ljust(_even(len(entry.value)), b"\0")
    return table + b"\0\0\0\0" + values


def header(order: str, first: int) -> bytes:
    """The first 8 bytes of a TIFF whose first directory is at offset `first`."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)


def _even(size: int) -> int:
    return size + size % 2
