"""How much memory a picture will take, and how much there is. Needs no torch."""

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .threads import thread_count

TILE_BYTES = 1100
"""Bytes of features for each LR pixel of a tile (measured: 300 MB at 512 x 512, with torch)."""
OWN_TILE_BYTES = 340_000_000
"""Bytes of features of a tile as large as an engine likes it (measured: OpenVINO, fp32)."""
SLAB_BYTES, SLAB_COLUMN_BYTES = 20_000_000, 5000
"""What each thread of resize and post-processing holds besides pictures: always, and for each column of the result
(measured with one thread: up to 19 MB for 1000 columns, 134 MB for 24000; with four: 46 and 394 MB)."""
PILLOW_BYTES = 4
"""Bytes of each pixel of the copy that Pillow makes to write it; it keeps RGB with a fourth channel."""
_STATUS_FIELDS = ("total", "free", "paged", "paged_free", "virtual", "virtual_free")


@dataclass(frozen=True)
class Work:
    """What `pipeline.enhance` is asked to do with one picture."""

    height: int
    width: int
    colours: int
    """1 for grey, 3 for RGB."""
    alpha: bool
    scale: int
    """Upscaling factor of the network, or of several that follow each other."""
    result_height: int
    result_width: int
    post_processing: bool
    """Whether the result is sharpened or anti-aliased."""
    tile: int | None = None
    """Tile side, None for what the engine likes."""

    def bytes_needed(self) -> int:
        """Peak of `enhance` and of writing its result, the picture itself not counted: that is in memory already."""
        pixels = self.height * self.width
        enlarged = pixels * self.scale**2
        result = self.result_height * self.result_width
        resized = (self.result_height, self.result_width) != (self.height * self.scale, self.width * self.scale)
        side = max(self.height, self.width)
        tile = TILE_BYTES * min(self.tile, side) ** 2 if self.tile else min(TILE_BYTES * side**2, OWN_TILE_BYTES)
        slabs = thread_count() * (SLAB_BYTES + SLAB_COLUMN_BYTES * self.result_width)
        # Bytes held at the same time, at each step.
        upscale = 12 * enlarged + (0 if self.colours == 3 else max(12 * pixels, 8 * enlarged)) + tile
        resize = 4 * self.colours * (enlarged + result) + slabs if resized else 0
        post_process = 4 * self.colours * result + slabs if self.post_processing else 0
        encode = (4 * self.colours + PILLOW_BYTES) * result
        throughout = 4 * (result + self.colours * pixels) if self.alpha else 0  # alpha, and colours bled under it
        return max(upscale, resize, post_process, encode) + throughout


def available_bytes() -> int | None:
    """Bytes that can be had without swapping, also inside a container; None where the system does not tell."""
    return min(_free(), default=None)


def _free() -> Iterator[int]:
    if sys.platform == "win32":
        yield _windows_free()
    elif sys.platform == "linux":
        yield _field(Path("/proc/meminfo"), "MemAvailable:") * 1024
        yield from _cgroup_free(Path("/sys/fs/cgroup"))
    elif sys.platform == "darwin":
        # What is free it tells nobody cheaply; what is there at all still catches the hopeless cases.
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup_free(root: Path) -> Iterator[int]:
    """What the container's limit leaves (Linux control groups, version 2), cached files counted as free."""
    try:
        limit, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
        if limit != "max":
            yield max(0, int(limit) - used + _field(root / "memory.stat", "inactive_file"))
    except (OSError, ValueError):
        return  # no container, or version 1


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, value, *_ = line.split()
        if key == name:
            return int(value)
    return 0


def _windows_free() -> int:
    class MemoryStatus(ctypes.Structure):  # MEMORYSTATUSEX of the Windows API
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in _STATUS_FIELDS),
            ("extended", ctypes.c_ulonglong),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]  # only there on Windows
    return status.free
