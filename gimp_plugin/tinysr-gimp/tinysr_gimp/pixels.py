"""Raw pixels out of GIMP's drawables and back, in the drawable's own colour space, so that nothing is converted.

Buffers are read and written in strips: a picture never lies in one piece in this process.
"""

import zlib
from collections.abc import Iterable, Iterator

from gi.repository import Babl, Gegl, Gimp

from .geometry import Box

STRIP_BYTES = 8 * 2**20
CHANNELS = {"Y float": 1, "Y' float": 1, "Y'A float": 2, "R'G'B' float": 3, "R'G'B'A float": 4}


class DeletedError(Exception):
    """A drawable is no more."""


def encoding(drawable: Gimp.Drawable) -> str:
    """The babl name, a key of `CHANNELS`, of the values that stand for `drawable`'s.

    Non-linear ones for pictures, whatever its precision, and RGB for palettes; masks hold plain coverage, which
    channels store in the numbers of non-linear values.
    """
    if isinstance(drawable, Gimp.LayerMask | Gimp.Selection):
        return "Y float"
    alpha = "A" if drawable.has_alpha() else ""
    return f"Y'{alpha} float" if drawable.is_gray() else f"R'G'B'{alpha} float"


def whole(drawable: Gimp.Drawable) -> Box:
    """All of `drawable`, in its own coordinates."""
    return Box(0, 0, drawable.get_width(), drawable.get_height())


def read(drawable: Gimp.Drawable, box: Box) -> Iterator[bytes]:
    """The pixels of `box`, in the drawable's own coordinates, strip by strip; outside the drawable they are 0.

    Raises:
        DeletedError: the user has deleted it.
    """
    buffer = drawable.get_buffer() if drawable.is_valid() else None
    if buffer is None:
        raise DeletedError
    name = format_name(drawable)
    for strip in _strips(box, CHANNELS[encoding(drawable)] * 4):
        yield buffer.get(_rectangle(strip), 1.0, name, Gegl.AbyssPolicy.NONE)


def write(drawable: Gimp.Drawable, strips: Iterable[bytes], box: Box | None = None, undo: bool = False) -> None:
    """Fill `box`, in the drawable's own coordinates, with rows of pixels; without it, the whole drawable.

    With `undo`, GIMP records an undo step, and writes inside its selection only.

    Raises:
        ValueError: the number of bytes is not that of the box (GIMP itself would silently write nothing).
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
    """Fill `box` of `target` with the `part` of `source`, which has its size and its kind of pixels."""
    write(target, read(source, part), box, undo)


def is_opaque(drawable: Gimp.Drawable, box: Box | None = None) -> bool:
    """Whether every pixel of `box` (default: of all) is fully visible."""
    if not drawable.has_alpha():
        return True
    return _is_full(drawable, box or whole(drawable), "A u16", 2)


def is_full(mask: Gimp.Channel, box: Box) -> bool:
    """Whether a mask or selection lets all of `box` show."""
    return _is_full(mask, box, "Y u16", 2)


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
