"""Raw pixels of GIMP's drawables, in the drawable's own colour space, so that no colour is converted.

Buffers are read and written in strips: this process never holds a whole picture.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator

from gi.repository import Babl, Gegl, Gimp

from .geometry import Box

STRIP_BYTES = 8 * 2**20
CHANNELS = {"Y float": 1, "Y' float": 1, "Y'A float": 2, "R'G'B' float": 3, "R'G'B'A float": 4}


class DeletedError(Exception):
    """A drawable has been deleted."""


def encoding(drawable: Gimp.Drawable) -> str:
    """The babl name, a key of `CHANNELS`, of the values that are read from `drawable` and written to it.

    They are non-linear, whatever the precision of the drawable, and RGB for palettes. Masks hold coverage, which is
    linear. Channels hold coverage too, but GIMP stores it as if it were non-linear.
    """
    if isinstance(drawable, Gimp.LayerMask | Gimp.Selection):
        return "Y float"
    alpha = "A" if drawable.has_alpha() else ""
    return f"Y'{alpha} float" if drawable.is_gray() else f"R'G'B'{alpha} float"


def whole(drawable: Gimp.Drawable) -> Box:
    """The rectangle of `drawable`, in its own coordinates."""
    return Box(0, 0, drawable.get_width(), drawable.get_height())


def read(drawable: Gimp.Drawable, box: Box) -> Iterator[bytes]:
    """Read the pixels of `box`, in the drawable's own coordinates, strip by strip; outside the drawable they are 0.

    Raises:
        DeletedError: the user has deleted the drawable.
    """
    buffer = drawable.get_buffer() if drawable.is_valid() else None
    if buffer is None:
        raise DeletedError
    name = format_name(drawable)
    for strip in _strips(box, CHANNELS[encoding(drawable)] * 4):
        yield buffer.get(_rectangle(strip), 1.0, name, Gegl.AbyssPolicy.NONE)


def write(drawable: Gimp.Drawable, strips: Iterable[bytes], box: Box | None = None, undo: bool = False) -> None:
    """Fill `box`, in the drawable's own coordinates (default: the whole drawable), with rows of pixels.

    With `undo`, GIMP records an undo step, and writes inside the selection only.

    Raises:
        ValueError: the number of bytes does not fit the box. (GIMP itself would write nothing, without an error.)
    """
    box = box or whole(drawable)
    buffer = drawable.get_shadow_buffer() if undo else drawable.get_buffer()
    name = format_name(drawable)
    row = box.width * CHANNELS[encoding(drawable)] * 4
    y = 0
    for strip in strips:
        rows, rest = divmod(len(strip), row)
        if rest or y + rows > box.height:
            raise ValueError(f"{len(strip)} bytes at row {y} of {box.width} x {box.height} pixels in {name}")
        buffer.set(_rectangle(Box(box.x, box.y + y, box.width, rows)), name, strip)
        y += rows
    if y != box.height:
        raise ValueError(f"{y} rows for {box.height}")
    buffer.flush()
    if undo:
        drawable.merge_shadow(True)
    drawable.update(box.x, box.y, box.width, box.height)


def clear(drawable: Gimp.Drawable) -> None:
    """Fill a new drawable with 0."""
    size = CHANNELS[encoding(drawable)] * 4
    write(drawable, (bytes(strip.area * size) for strip in _strips(whole(drawable), size)))


def copy(source: Gimp.Drawable, part: Box, target: Gimp.Drawable, box: Box | None = None, undo: bool = False) -> None:
    """Fill `box` of `target` with `part` of `source`, of the same size and kind of pixels."""
    write(target, read(source, part), box, undo)


def is_opaque(drawable: Gimp.Drawable, box: Box | None = None) -> bool:
    """Whether every pixel of `box` (default: the whole drawable) is opaque."""
    if not drawable.has_alpha():
        return True
    return _is_full(drawable, box or whole(drawable), "A u16", 2)


def is_full(mask: Gimp.Channel, box: Box) -> bool:
    """Whether a mask or selection covers all of `box`."""
    return _is_full(mask, box, "Y u16", 2)


def has_one_colour(drawable: Gimp.Drawable) -> bool:
    """Whether all pixels that are not fully transparent have the same colour."""
    buffer = drawable.get_buffer()
    colours: set[bytes] = set()
    for strip in _strips(whole(drawable), 4):
        values = buffer.get(_rectangle(strip), 1.0, "R'G'B'A u8", Gegl.AbyssPolicy.NONE)
        for pixel in set(memoryview(values).cast("I")):  # as numbers, which is fast
            *colour, alpha = pixel.to_bytes(4, sys.byteorder)
            if alpha:
                colours.add(bytes(colour))
    return len(colours) <= 1


def fingerprint(drawable: Gimp.Drawable) -> int:
    """A checksum of its pixels."""
    buffer = drawable.get_buffer()
    checksum = 0
    for strip in _strips(whole(drawable), drawable.get_bpp()):
        checksum = zlib.crc32(buffer.get(_rectangle(strip), 1.0, None, Gegl.AbyssPolicy.NONE), checksum)
    return checksum


def format_name(drawable: Gimp.Drawable) -> str:
    """The babl name of `encoding` in the colour space of `drawable`."""
    return Babl.get_name(Babl.format_with_space(encoding(drawable), drawable.get_format()))


def _is_full(drawable: Gimp.Drawable, box: Box, name: str, size: int) -> bool:
    buffer = drawable.get_buffer()
    strips = (buffer.get(_rectangle(s), 1.0, name, Gegl.AbyssPolicy.NONE) for s in _strips(box, size))
    return all(strip.count(0xFF) == len(strip) for strip in strips)


def _strips(box: Box, pixel_bytes: int) -> Iterator[Box]:
    """`box` in strips of about `STRIP_BYTES`."""
    step = max(1, STRIP_BYTES // (box.width * pixel_bytes))
    for y in range(0, box.height, step):
        yield Box(box.x, box.y + y, box.width, min(step, box.height - y))


def _rectangle(box: Box) -> Gegl.Rectangle:
    return Gegl.Rectangle.new(box.x, box.y, box.width, box.height)
