"""Find the pictures of a job, and tell files apart."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from ..images import FORMATS
from .naming import BACKUP_SUFFIX, READ_ONLY_SUFFIXES, Input
from .outcome import Outcome

_READABLE_SUFFIXES = READ_ONLY_SUFFIXES.union(*(kind.suffixes for kind in FORMATS.values()))


class Finder:
    """Finds the files of the inputs, and records what it passes over."""

    def __init__(self, recursive: bool, exclude: Sequence[str]) -> None:
        self._recursive, self._exclude = recursive, exclude
        self.unlisted: list[Outcome] = []
        """Folders that cannot be listed."""
        self.passed_over = Counter[str]()
        """Suffixes of the other files in the folders."""

    def find(self, inputs: Iterable[Path], output: Path | None, mark: str, pattern: str | None) -> Iterator[Input]:
        """The files in the order of the inputs: named ones, and the pictures of folders, sorted by name.

        Args:
            output: the folder of all results; None: beside the inputs.
            mark: the size in the names of result folders.
            pattern: that of the names of results; None: the default.
        """
        for path in inputs:
            if is_folder(path):
                root = Path(os.path.realpath(path))
                results = output or root.with_name(f"{root.name}_{mark}")
                for picture in self._walk(path, path, os.path.realpath(results)):
                    yield Input(picture, results / picture.relative_to(path).parent, pattern or "{name}")
            else:
                yield Input(path, output or path.parent, pattern or ("{name}" if output else "{name}_{size}"))

    def _walk(self, root: Path, folder: Path, results: str) -> Iterator[Path]:
        """The pictures in `folder`, by suffix, without those in the folder `results` of an earlier run."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            message = f"The folder {folder} cannot be listed: {error.strerror}."
            self.unlisted.append(Outcome(folder, None, "failed", error=message))
            return
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") or self._is_excluded(path, root):
                continue
            if is_folder(path):
                inside = self._recursive and not entry.is_symlink()
                if inside and (os.path.realpath(path) != results or results == os.path.realpath(root)):
                    yield from self._walk(root, path, results)
            elif path.suffix.lower() in _READABLE_SUFFIXES:
                yield path
            elif path.suffix != BACKUP_SUFFIX:
                self.passed_over[path.suffix.lower()] += 1

    def _is_excluded(self, path: Path, root: Path) -> bool:
        below = path.relative_to(root).as_posix()
        return any(fnmatch(path.name, pattern) or fnmatch(below, pattern) for pattern in self._exclude)


class Identities:
    """Real paths of files, to compare files that are named by different paths. Resolves each folder once."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """The real path of a file, in lower case where the file system ignores case (Windows)."""
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = os.path.realpath(path.parent)
        full = f"{folder}{os.sep}{path.name}"
        return os.path.normcase(os.path.realpath(full) if os.path.islink(full) else full)  # noqa: PTH114  # a text


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False where the file system cannot tell, because the name is too long."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises for long names


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False where the file system cannot tell, because the name is too long."""
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises for long names
