"""Draw a portrait at 1:1 with a moving line: bicubic on its left, TinySR on its right.

    python benchmarks/slider.py ../shared/data/val/portraits_cc0/094.jpg docs/images/slider.webp --scale 4

The portrait is first reduced by the scale, as `tinysr evaluate` does, and then enlarged by both methods.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinysr_core import load_upscaler, read_picture
from tinysr_core.evaluation import to_8_bits
from tinysr_core.postprocess import resize

FRAMES, MILLISECONDS = 40, 80


def crop_at(pixels: np.ndarray, left: int, top: int, width: int, height: int) -> Image.Image:
    """Crop [1,3,H,W] in [0,1]."""
    return Image.fromarray(np.ascontiguousarray(to_8_bits(pixels)[top : top + height, left : left + width]))


def frame(before: Image.Image, after: Image.Image, at: int) -> Image.Image:
    """`before` up to the column `at`, `after` from there on."""
    picture = after.copy()
    picture.paste(before.crop((0, 0, at, before.height)), (0, 0))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    pen.line((at, 0, at, picture.height), "white", 3)
    label = {"fill": "white", "font": font, "stroke_width": 2, "stroke_fill": "black"}
    pen.text((12, picture.height - 12), "bicubic", anchor="ls", **label)
    pen.text((picture.width - 12, picture.height - 12), "TinySR", anchor="rs", **label)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("output", type=Path, help="an animated WebP")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--crop", type=int, nargs=4, default=(230, 170, 640, 420), help="left, top, width, height")
    arguments = parser.parse_args()
    hr = read_picture(arguments.photo).pixels
    height, width = (side // arguments.scale for side in hr.shape[2:])
    hr = hr[:, :, : height * arguments.scale, : width * arguments.scale]
    lr = np.rint(resize(hr, height, width).clip(0, 1) * 255) / np.float32(255)
    bicubic = resize(lr, *hr.shape[2:]).clip(0, 1)
    ours = load_upscaler(arguments.model, scale=arguments.scale).upscale(lr)
    before, after = (crop_at(pixels, *arguments.crop) for pixels in (bicubic, ours))
    middle, reach = before.width / 2, before.width * 0.42
    places = [round(middle + reach * math.sin(2 * math.pi * i / FRAMES)) for i in range(FRAMES)]
    first, *others = (frame(before, after, at) for at in places)
    first.save(arguments.output, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=90)


if __name__ == "__main__":
    main()
