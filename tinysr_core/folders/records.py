"""Records of what made each result, in one hidden JSON Lines file per folder of results.

A line has the name, size and modification time of the result; the path (relative to this folder), size and modification
time of its source; and the fingerprint of the settings. A later line for the same name replaces an earlier one. A file
without a line is treated as a file of the user: it is kept.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

RECORD_NAME = ".tinysr.jsonl"
_SAME_TIME = 2_000_000_000
"""Nanoseconds by which equal times may differ: FAT stores steps of two seconds, others round differently."""

State = Literal["absent", "finished", "outdated", "foreign"]


@dataclass(frozen=True)
class _FileState:
    """What shows that a file was changed."""

    bytes: int
    mtime_ns: int

    def same(self, other: "_FileState") -> bool:
        return self.bytes == other.bytes and abs(self.mtime_ns - other.mtime_ns) <= _SAME_TIME


@dataclass(frozen=True)
class _Entry:
    result: _FileState
    source_path: str
    source: _FileState
    settings: str


class ResultRecords:
    """The records of several folders. Each file is read when it is first needed."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, _Entry]] = {}

    def source_of(self, path: Path) -> Path | None:
        """The file that `path` was made from; None where `path` is not a result, or was changed since."""
        try:
            entry = self._own_entry(path)
        except OSError:
            return None
        return None if entry is None else path.parent / entry.source_path

    def state(self, source: Path, result: Path, settings: str) -> State:
        """The state of `result`, which is to be made from `source` with `settings` (a fingerprint).

        absent: it does not exist. finished: it was made so. outdated: the source or the settings have changed since.
        foreign: it was made by the user, by another program or from another picture.

        Raises:
            OSError: the file system cannot tell, for example because the name is too long.
        """
        try:
            entry = self._own_entry(result)
        except (FileNotFoundError, NotADirectoryError):
            return "absent"
        if entry is None:
            return "foreign"
        same_source = entry.source.same(_file_state(source))
        if not same_source and entry.source_path != _relative(source, result.parent):
            return "foreign"
        return "finished" if same_source and entry.settings == settings else "outdated"

    def add(self, source: Path, result: Path, settings: str) -> None:
        """Record that `result` was made from `source`. Does nothing where the folder is not writable."""
        with suppress(OSError):
            entry = _Entry(_file_state(result), _relative(source, result.parent), _file_state(source), settings)
            self._entries(result.parent)[result.name] = entry
            line = json.dumps({"name": result.name} | asdict(entry), ensure_ascii=False) + "\n"
            with (result.parent / RECORD_NAME).open("a", encoding="utf-8") as stream:
                stream.write(line)

    def _own_entry(self, result: Path) -> _Entry | None:
        now = _file_state(result)
        entry = self._entries(result.parent).get(result.name)
        return entry if entry is not None and entry.result.same(now) else None

    def _entries(self, folder: Path) -> dict[str, _Entry]:
        if folder not in self._folders:
            self._folders[folder] = _read(folder / RECORD_NAME)
        return self._folders[folder]


def _read(path: Path) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return entries
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a line that is truncated, or of another version
            row = json.loads(line)
            states = _FileState(**row["result"]), _FileState(**row["source"])
            entries[row["name"]] = _Entry(states[0], row["source_path"], states[1], row["settings"])
    return entries


def _file_state(path: Path) -> _FileState:
    stat = path.stat()
    return _FileState(stat.st_size, stat.st_mtime_ns)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return str(path.absolute())
