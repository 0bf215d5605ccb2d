"""The preview: a sheet of crops of the LR pictures, the results and the originals, at 1:1."""

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
    """Write a PNG with one row per picture, for at most `ROWS` pictures, and one titled column per method.

    Args:
        path: the file to write.
        columns: for each title the pictures, RGB uint8 [H,W,3], in the same order and with the same sizes.

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
    """Nearest-neighbour enlargement of [h,w,3] to [s*h,s*w,3]."""
    return lr.repeat(scale, 0).repeat(scale, 1)


def _centre(picture: Pixels8) -> Image.Image:
    height, width = (min(SIDE, extent) for extent in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return Image.fromarray(picture[top : top + height, left : left + width])
