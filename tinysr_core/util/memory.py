"""Estimates of the memory that a picture needs, and the memory that is available. Needs no torch."""

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .threads import thread_count

TILE_BYTES = 1700
"""Bytes of features per LR pixel of a tile (measured: 440 MB at 512 x 512, for two tiles with OpenVINO, fp32)."""
DEFAULT_TILE_BYTES = 450_000_000
"""Bytes of features with tiles of an engine's default size (measured: OpenVINO, fp32)."""
SLAB_BYTES, SLAB_COLUMN_BYTES = 20_000_000, 5000
"""Bytes that each thread of resize and post-processing holds besides pictures: a constant, and an amount per column of
the result (measured: up to 19 MB for 1000 columns and 134 MB for 24000 with one thread, 46 and 394 MB with four)."""
PILLOW_BYTES = 4
"""Bytes per pixel of the copy that Pillow makes to write a picture; it stores RGB with a fourth channel."""
_STATUS_FIELDS = ("total", "free", "paged", "paged_free", "virtual", "virtual_free")


@dataclass(frozen=True)
class Work:
    """One call of `pipeline.enhance` on one picture; heights and widths in pixels."""

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
    """Side of the tiles in LR pixels; None: the engine's default."""

    def bytes_needed(self) -> int:
        """Peak of `enhance` and of writing its result, in bytes. The input does not count: it is in memory already."""
        pixels = self.height * self.width
        enlarged = pixels * self.scale**2
        result = self.result_height * self.result_width
        resized = (self.result_height, self.result_width) != (self.height * self.scale, self.width * self.scale)
        side = max(self.height, self.width)
        tile = TILE_BYTES * min(self.tile, side) ** 2 if self.tile else min(TILE_BYTES * side**2, DEFAULT_TILE_BYTES)
        slabs = thread_count() * (SLAB_BYTES + SLAB_COLUMN_BYTES * self.result_width)
        # Each step in turn; the largest of them is the peak.
        upscale = 12 * enlarged + (0 if self.colours == 3 else max(12 * pixels, 8 * enlarged)) + tile
        resize = 4 * self.colours * (enlarged + result) + slabs if resized else 0
        post_process = 4 * self.colours * result + slabs if self.post_processing else 0
        encode = (4 * self.colours + PILLOW_BYTES) * result
        throughout = 4 * (result + self.colours * pixels) if self.alpha else 0  # alpha, and colours bled under it
        return max(upscale, resize, post_process, encode) + throughout


def available_bytes() -> int | None:
    """Bytes that can be allocated without swapping, also in a container; None if the system cannot tell."""
    return min(_free(), default=None)


def _free() -> Iterator[int]:
    if sys.platform == "win32":
        yield _windows_free()
    elif sys.platform == "linux":
        yield _field(Path("/proc/meminfo"), "MemAvailable:") * 1024
        yield from _cgroup_free(Path("/sys/fs/cgroup"))
    elif sys.platform == "darwin":
        # macOS has no cheap query for free memory. Total memory still catches requests that could never fit.
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup_free(root: Path) -> Iterator[int]:
    """What the limit of a container leaves (Linux control groups, version 2); cached files count as free."""
    try:
        limit, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
        if limit != "max":
            yield max(0, int(limit) - used + _field(root / "memory.stat", "inactive_file"))
    except (OSError, ValueError):
        return  # no container, or control groups of version 1


def _field(path: Path, name: str) -> int:
    """The number beside `name` in a table of Linux; 0 if there is none."""
    for line in path.read_text().splitlines():
        key, value, *_ = line.split()
        if key == name:
            return int(value)
    return 0


def _windows_free() -> int:
    assert sys.platform == "win32"  # type checkers on other systems skip the rest

    class MemoryStatus(ctypes.Structure):  # MEMORYSTATUSEX of the Windows API
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in _STATUS_FIELDS),
            ("extended", ctypes.c_ulonglong),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.free
