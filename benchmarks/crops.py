"""Draw crops of validation portraits at 1:1: the small picture, bicubic, TinySR and the original.

python benchmarks/crops.py ../shared/data/val/portraits_cc0 docs/images/crops_x2.jpg --scale 2
python benchmarks/crops.py ../shared/data/val/portraits_cc0 docs/images/photo_x2.jpg --jpeg 50 --models portrait photo
"""

import argparse
from pathlib import Path

import numpy as np
from photos import jpeg
from PIL import Image, ImageDraw, ImageFont

from tinysr_core.evaluation import network
from tinysr_core.evaluation.table import Method, interpolation, load_pairs
from tinysr_core.images import Pixels8

SIDE = 240
CROPS = (("094", "eye", 400, 340), ("004", "skin", 480, 600), ("084", "hair", 270, 60), ("084", "cloth", 330, 740))
"""Portrait, content of the crop, and its left and top in the original."""


def nearest(scale: int) -> Method:
    """The small picture with enlarged pixels."""
    return lambda lr: lr.repeat(scale, 0).repeat(scale, 1)


def draw(rows: list[list[Pixels8]], titles: list[str]) -> Image.Image:
    """A sheet of crops below a line of titles."""
    font = ImageFont.load_default(16)
    top, gap = 28, 4
    width, height = len(titles) * (SIDE + gap) - gap, top + len(rows) * (SIDE + gap) - gap
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        left = column * (SIDE + gap)
        pen.text((left + SIDE / 2, top / 2), title, "black", font, anchor="mm")
        for row, crops in enumerate(rows):
            sheet.paste(Image.fromarray(crops[column]), (left, top + row * (SIDE + gap)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="validation portraits")
    parser.add_argument("output", type=Path, help="the picture to write")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["fidelity", "portrait"], help="names of checkpoints")
    parser.add_argument("--jpeg", type=int, help="save the small pictures as JPEG of this quality first")
    arguments = parser.parse_args()
    methods = {"small picture": nearest(arguments.scale), "bicubic": interpolation("bicubic", arguments.scale)}
    methods |= {f"TinySR {name}": network(name, arguments.scale)[1] for name in arguments.models}
    pairs = {pair.name: pair for pair in load_pairs(arguments.folder, arguments.scale)}
    rows: list[list[Pixels8]] = []
    for name, _, left, top in CROPS:
        pair = pairs[name]
        lr = pair.lr if arguments.jpeg is None else jpeg(pair.lr, arguments.jpeg)
        whole = [method(lr) for method in methods.values()] + [pair.hr]
        rows.append([np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE]) for picture in whole])
    draw(rows, [*methods, "original"]).save(arguments.output, quality=92, subsampling=0)


if __name__ == "__main__":
    main()
