"""Helpers that every room uses: arrays that may be numpy or torch, files that appear whole, threads, printing.

Nothing here knows about networks or pictures, and nothing imports torch.
"""

from .arrays import Image, all_finite, clamp_in_place, continued
from .console import escape_unprintable
from .files import atomic_write, delete_later, exclusive, remove_leftovers
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
    "continued",
    "cores",
    "delete_later",
    "escape_unprintable",
    "exclusive",
    "in_order",
    "remove_leftovers",
    "thread_count",
]
