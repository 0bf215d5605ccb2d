"""Raw pixels out of GIMP's drawables and back, in the drawable's own colour space, so that nothing is converted.

Buffers are read and written in strips: a wide picture never lies in one piece twice.
"""

from collections.abc import Iterator

from gi.repository import Babl, Gegl, Gimp

from .geometry import Box

STRIP_BYTES = 16 * 2**20
CHANNELS = {"Y float": 1, "Y' float": 1, "Y'A float": 2, "R'G'B' float": 3, "R'G'B'A float": 4}


def encoding(drawable: Gimp.Drawable) -> str:
    """The babl name, a key of `CHANNELS`, of the values that stand for `drawable`'s.

    Non-linear ones for pictures, whatever its precision, and RGB for palettes; masks hold plain coverage.
    """
    if isinstance(drawable, Gimp.Channel):
        return "Y float"
    alpha = "A" if drawable.has_alpha() else ""
    return f"Y'{alpha} float" if drawable.is_gray() else f"R'G'B'{alpha} float"


def read(drawable: Gimp.Drawable, box: Box, encoding: str) -> Iterator[bytes]:
    """The pixels of `box`, in the drawable's own coordinates, strip by strip; outside the drawable they are 0."""
    buffer = drawable.get_buffer()
    name = _format_name(drawable, encoding)
    for y, rows in _strips(box.width, box.height, encoding):
        strip = Gegl.Rectangle.new(box.x, box.y + y, box.width, rows)
        yield buffer.get(strip, 1.0, name, Gegl.AbyssPolicy.NONE)


def write(drawable: Gimp.Drawable, pixels: bytes, encoding: str) -> None:
    """Fill the whole of `drawable` with `pixels`. For new drawables only: there is no undo step.

    Raises:
        ValueError: the number of bytes is not that of the drawable (GIMP itself would silently write nothing).
    """
    width, height = drawable.get_width(), drawable.get_height()
    row = width * CHANNELS[encoding] * 4
    if len(pixels) != row * height:
        raise ValueError(f"{len(pixels)} bytes for {width} x {height} pixels of {encoding}")
    buffer = drawable.get_buffer()
    name = _format_name(drawable, encoding)
    for y, rows in _strips(width, height, encoding):
        buffer.set(Gegl.Rectangle.new(0, y, width, rows), name, pixels[y * row : (y + rows) * row])
    buffer.flush()
    drawable.update(0, 0, width, height)


def is_opaque(drawable: Gimp.Drawable) -> bool:
    """Whether every pixel is fully visible."""
    width, height = drawable.get_width(), drawable.get_height()
    alpha = drawable.get_buffer().get(Gegl.Rectangle.new(0, 0, width, height), 1.0, "A u16", Gegl.AbyssPolicy.NONE)
    return alpha.count(0xFF) == len(alpha)


def _format_name(drawable: Gimp.Drawable, encoding: str) -> str:
    return Babl.get_name(Babl.format_with_space(encoding, drawable.get_format()))


def _strips(width: int, height: int, encoding: str) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of strips of about `STRIP_BYTES`."""
    step = max(1, STRIP_BYTES // (width * CHANNELS[encoding] * 4))
    for y in range(0, height, step):
        yield y, min(step, height - y)
