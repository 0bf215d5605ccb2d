"""Photographs for training: find them, decode them once, and map the pixels into memory. Imports no torch."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError, PictureError
from ..util import atomic_write, try_delete
from .formats import FORMATS
from .reading import MAX_PIXELS, read_header, read_rgb8

SUFFIXES = frozenset({".heic", ".heif"}).union(*(kind.suffixes for kind in FORMATS.values()))

Pixels8 = NDArray[np.uint8]
"""RGB uint8 [H,W,3]."""
T = TypeVar("T")


def list_photos(folders: Iterable[Path], leave_out: Path | None = None) -> list[Path]:
    """All photographs in `folders` and the folders below, sorted by path.

    Hidden files and folders, the folder `leave_out` and links to folders are left out.

    Raises:
        DataError: a folder does not exist or cannot be read, or there is no photograph.
    """
    photos: set[Path] = set()
    folders = list(folders)
    excluded = None if leave_out is None else leave_out.resolve()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give one with photographs.")
        for parent, below, names in os.walk(folder.resolve(), onerror=_refuse):
            below[:] = [name for name in below if not name.startswith(".") and Path(parent, name).resolve() != excluded]
            photos.update(path for name in names if _is_photo(path := Path(parent, name)))
    if not photos:
        where = " and ".join(str(folder) for folder in folders)
        raise DataError(f"There are no photographs in {where}; use PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP files.")
    return sorted(photos)


def fingerprint(photos: Sequence[Path]) -> str:
    """SHA-256 of the contents of the photographs, independent of their names and order."""
    digests = sorted(hashlib.sha256(path.read_bytes()).digest() for path in photos)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def shrink_factor(width: int, height: int, megapixels: float) -> int:
    """The whole factor by which a photograph is shrunk to have at most `megapixels`; 0 megapixels: no limit."""
    return max(1, math.ceil(math.sqrt(width * height / (1e6 * megapixels)))) if megapixels else 1


def decode(photo: Path, megapixels: float = 0.0) -> Pixels8:
    """Decode a photograph upright, and shrink it by `shrink_factor` with antialiased bicubic.

    Rows and columns that the factor does not divide are cut off.

    Raises:
        PictureError: the photograph cannot be read.
    """
    pixels = read_rgb8(photo)
    height, width = pixels.shape[:2]
    factor = shrink_factor(width, height, megapixels)
    if factor == 1:
        return pixels
    size = (width // factor, height // factor)
    box = (0, 0, size[0] * factor, size[1] * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=box))


def map_photos(function: Callable[[Path], T], photos: Iterable[Path]) -> Iterator[T]:
    """Call `function` for each photograph in several threads; yield the results in order.

    At most `MAX_PIXELS` pixels are in work at a time.
    """
    with ThreadPoolExecutor() as pool:
        for group in _groups(photos):
            yield from pool.map(function, group)


class PhotoCache:
    """Decoded photographs in one file that is mapped into memory.

    The operating system caches the parts in use and frees them when memory is short; several processes share them. A
    file that holds the same photographs is used as it is.

    Args:
        photos: the photographs.
        file: where the pixels are stored, 3 bytes each.
        megapixels: the limit of `decode`; 0: none.

    Raises:
        PictureError: a photograph cannot be read.
        DataError: the file cannot be written.
    """

    def __init__(self, photos: Sequence[Path], file: Path, megapixels: float = 0.0) -> None:
        self.made_of = (photos, file, megapixels)
        key = _key(photos, megapixels)
        if _read_key(file) != key:
            _write(photos, file, megapixels, key)
        _, *arrays = _arrays(file)
        self.pixels = dict(zip(photos, arrays, strict=True))

    def __getitem__(self, photo: Path) -> Pixels8:
        """The pixels, uint8 [H,W,3], read-only."""
        return self.pixels[photo]

    def __reduce__(self) -> tuple[Any, ...]:
        return PhotoCache, self.made_of  # another process maps the file itself

    def remove(self) -> None:
        """Delete the file. On Windows it stays if another process maps it.

        No array of this cache may be used after this.
        """
        self.pixels.clear()  # the mapping ends with the last array
        try_delete(self.made_of[1])


def _write(photos: Sequence[Path], file: Path, megapixels: float, key: bytes) -> None:
    try:
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array(stream, np.frombuffer(key, np.uint8))
            for pixels in map_photos(lambda photo: decode(photo, megapixels), photos):
                np.lib.format.write_array(stream, pixels)
    except OSError as error:
        raise DataError(
            f"The decoded photographs cannot be stored in {file.parent} ({error.strerror}). They need 3 bytes per"
            " pixel; free disk space or choose another folder for the run."
        ) from error


def _read_key(file: Path) -> bytes | None:
    """What the file was made from; None where it does not exist or is damaged.

    It is read, not mapped: Windows cannot replace a mapped file.
    """
    try:
        with file.open("rb") as stream:
            return bytes(np.lib.format.read_array(stream))
    except (OSError, ValueError):
        return None


def _arrays(file: Path) -> Iterator[Pixels8]:
    """The arrays of a file of concatenated .npy files, mapped into memory."""
    data = np.asarray(np.memmap(file, np.uint8, "r"))
    with file.open("rb") as stream:
        while stream.tell() < len(data):
            np.lib.format.read_magic(stream)
            shape = np.lib.format.read_array_header_1_0(stream)[0]
            start = stream.tell()
            yield data[start : stream.seek(start + math.prod(shape))].reshape(shape)


def _key(photos: Sequence[Path], megapixels: float) -> bytes:
    """Changes whenever the decoded photographs would change."""
    stats = [(str(photo), photo.stat().st_size, photo.stat().st_mtime_ns) for photo in photos]
    return json.dumps([megapixels, stats]).encode()


def _groups(photos: Iterable[Path]) -> Iterator[list[Path]]:
    """Groups of photographs with at most `MAX_PIXELS` pixels, or with one photograph."""
    group: list[Path] = []
    room = MAX_PIXELS
    for photo in photos:
        try:
            header = read_header(photo)
            pixels = header.width * header.height
        except PictureError:
            pixels = 0
        if group and (pixels > room or len(group) == 64):
            yield group
            group, room = [], MAX_PIXELS
        group.append(photo)
        room -= pixels
    yield group


def _is_photo(path: Path) -> bool:
    """Whether a file is a picture by its name. A broken link counts, so that reading it reports an error."""
    named_so = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named_so and (path.is_file() or (path.is_symlink() and not path.exists()))


def _refuse(error: OSError) -> None:
    raise DataError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
