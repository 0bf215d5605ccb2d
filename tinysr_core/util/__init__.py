"""Helpers for every room: arrays that may be numpy or torch, atomic files, locks, HTML pages, memory, threads,
console output.

Nothing here imports torch or knows about networks and picture files.
"""

from .arrays import Image, all_finite, clamp_in_place, crop_mirrored
from .console import escape_unprintable
from .files import atomic_write, exclusive_lock, remove_leftovers, try_delete
from .html_page import png_url, write_html
from .lazy_import import lazy_getattr
from .memory import Work, available_bytes
from .progress import Progress
from .threads import cores, in_order, thread_count

__all__ = [
    "Image",
    "Progress",
    "Work",
    "all_finite",
    "atomic_write",
    "available_bytes",
    "clamp_in_place",
    "cores",
    "crop_mirrored",
    "escape_unprintable",
    "exclusive_lock",
    "in_order",
    "lazy_getattr",
    "png_url",
    "remove_leftovers",
    "thread_count",
    "try_delete",
    "write_html",
]
