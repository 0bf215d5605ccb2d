"""Photographs on the disk: finding them, decoding them once, keeping them where any part is at hand. Needs no torch."""

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
"""RGB [H,W,3] of 8 bits."""
T = TypeVar("T")


def list_photos(folders: Iterable[Path], leave_out: Path | None = None) -> list[Path]:
    """All photographs in `folders` and below, sorted; not hidden ones, none in `leave_out`, none behind a link to a
    folder.

    Raises:
        DataError: a folder is not there or cannot be looked into, or there is no photograph.
    """
    photos: set[Path] = set()
    folders = list(folders)
    apart = None if leave_out is None else leave_out.resolve()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give one with photographs.")
        for place, below, names in os.walk(folder.resolve(), onerror=_refuse):
            below[:] = [name for name in below if not name.startswith(".") and Path(place, name).resolve() != apart]
            photos.update(path for name in names if _is_photo(path := Path(place, name)))
    if not photos:
        where = " and ".join(str(folder) for folder in folders)
        raise DataError(f"There is no photograph in {where}; PNG, JPEG, WebP, TIFF, AVIF, HEIC and BMP files count.")
    return sorted(photos)


def fingerprint(photos: Sequence[Path]) -> str:
    """SHA-256 over the contents of the photographs, whatever their folder is called."""
    digests = sorted(hashlib.sha256(path.read_bytes()).digest() for path in photos)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def shrink_factor(width: int, height: int, megapixels: float) -> int:
    """The whole number by which a photograph is shrunk so that it has at most `megapixels`; 1 where that is 0."""
    return max(1, math.ceil(math.sqrt(width * height / (1e6 * megapixels)))) if megapixels else 1


def decode(photo: Path, megapixels: float = 0.0) -> Pixels8:
    """The upright photograph, shrunk by `shrink_factor` with antialiased bicubic; edges that do not divide are cut off.

    Raises:
        PictureError: it cannot be read.
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
    """`function` of each photograph, in order. All cores work, on no more than `MAX_PIXELS` pixels at a time."""
    with ThreadPoolExecutor() as pool:
        for portion in _portions(photos):
            yield from pool.map(function, portion)


class PhotoCache:
    """Decoded photographs in one file that is mapped into memory.

    The system keeps in memory what is used, and gives it back when others need it; several processes share it. A file
    that holds the same photographs already is taken as it is.

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
        """[H,W,3], to be read only."""
        return self.pixels[photo]

    def __reduce__(self) -> tuple[Any, ...]:
        return PhotoCache, self.made_of  # another process maps the file anew

    def remove(self) -> None:
        """Delete the file; it can be made again. Where another process maps it, Windows keeps it until the next time.

        No array that this cache gave may be in use any more.
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
            f"The decoded photographs cannot be kept in {file.parent} ({error.strerror}); they take 3 bytes a pixel: "
            "make room, or name another folder for the run."
        ) from error


def _read_key(file: Path) -> bytes | None:
    """What the file was made of; None where there is no such file, or it is damaged.

    It is read, not mapped: a file that is mapped cannot be replaced on Windows.
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
    """What changes when the decoded photographs would."""
    stats = [(str(photo), photo.stat().st_size, photo.stat().st_mtime_ns) for photo in photos]
    return json.dumps([megapixels, stats]).encode()


def _portions(photos: Iterable[Path]) -> Iterator[list[Path]]:
    """Parts of at most `MAX_PIXELS` pixels, or of one photograph."""
    portion: list[Path] = []
    room = MAX_PIXELS
    for photo in photos:
        try:
            header = read_header(photo)
            pixels = header.width * header.height
        except PictureError:
            pixels = 0
        if portion and (pixels > room or len(portion) == 64):
            yield portion
            portion, room = [], MAX_PIXELS
        portion.append(photo)
        room -= pixels
    yield portion


def _is_photo(path: Path) -> bool:
    """Whether it is called like a picture and is a file; a link to nothing counts, so that somebody hears of it."""
    called_so = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return called_so and (path.is_file() or (path.is_symlink() and not path.exists()))


def _refuse(error: OSError) -> None:
    raise DataError(f"The folder {error.filename} cannot be looked into: {error.strerror}.") from error
