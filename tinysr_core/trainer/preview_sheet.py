"""A sheet of crops: the small picture, what was made of it, the original; one pixel is one pixel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..images import Pixels8
from ..util import atomic_write

SIDE = 256
"""Side of a crop, in pixels of the original."""
ROWS = 4
GAP, TITLE = 4, 24
BACKGROUND, TEXT = "#202020", "#d8d8d8"


def write_preview(path: Path, columns: Mapping[str, Sequence[Pixels8]]) -> None:
    """Write a PNG with a row for each of the first pictures and a titled column for each method.

    `columns` gives the same pictures [H,W,3] from each method, all of the same sizes.

    Raises:
        OSError: the file cannot be written.
    """
    rows = min(ROWS, *(len(pictures) for pictures in columns.values()))
    crops = [[_centre(pictures[row]) for pictures in columns.values()] for row in range(rows)]
    width = max(crop.width for row in crops for crop in row) + GAP
    sheet = Image.new(
        "RGB", (len(columns) * width - GAP, TITLE + sum(row[0].height + GAP for row in crops)), BACKGROUND
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(columns):
        pen.text((column * width + (width - GAP) / 2, TITLE / 2), title, TEXT, font, anchor="mm")
    top = TITLE
    for row in crops:
        for column, crop in enumerate(row):
            sheet.paste(crop, (column * width, top))
        top += row[0].height + GAP
    with atomic_write(path) as temporary:
        sheet.save(temporary)


def enlarged(lr: Pixels8, scale: int) -> Pixels8:
    """The small picture itself, each pixel `scale` times as wide and high."""
    return lr.repeat(scale, 0).repeat(scale, 1)


def _centre(picture: Pixels8) -> Image.Image:
    height, width = (min(SIDE, extent) for extent in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return Image.fromarray(picture[top : top + height, left : left + width])
