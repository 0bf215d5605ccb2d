"""Draw the thumbnails of the example workflows: what goes in on the left, what comes out on the right.

    python tools/thumbnails.py ../shared/data/val/portraits_cc0

The portraits are in the public domain (CC0). Each is shrunk to half its size first, so that there is something to gain.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tinysr_core import enhance, enhance_picture, from_pil, load_upscaler, to_pil
from tinysr_core.postprocess import Finish

FOLDER = Path(__file__).parents[1] / "example_workflows"
SIDE = 400
FACES = {"woman": ("044.jpg", 280, 300), "man": ("084.jpg", 300, 225), "other": ("094.jpg", 220, 200)}
"""Portraits of 1000 x 1000 pixels, and the left upper corner of the square that is shown."""


class Portrait:
    """A square of a portrait, at half size and as the networks enlarge that."""

    def __init__(self, folder: Path, face: str) -> None:
        name, left, top = FACES[face]
        photo = Image.open(folder / name).convert("RGB")
        self.small = photo.crop((left, top, left + SIDE, top + SIDE)).resize((SIDE // 2, SIDE // 2))

    @property
    def before(self) -> Image.Image:
        return self.small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)

    def after(self, model: str, finish: Finish | None = None) -> Image.Image:
        pixels = np.asarray(self.small, np.float32).transpose(2, 0, 1)[None] / 255
        result, _ = enhance(load_upscaler(model, scale=2), pixels, finish=finish or Finish())
        return Image.fromarray((255 * result[0] + 0.5).astype(np.uint8).transpose(1, 2, 0))

    def compressed(self, quality: int) -> tuple[Image.Image, Image.Image]:
        """The square as a JPEG of a quarter of its size, enlarged by bicubic and by the network."""
        stream = io.BytesIO()
        self.small.resize((SIDE // 4, SIDE // 4), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
        saved = from_pil(Image.open(stream))
        result = enhance_picture(load_upscaler("portrait", scale=4), saved)
        return to_pil(saved).resize((SIDE, SIDE), Image.Resampling.BICUBIC), to_pil(result)


def halves(left: Image.Image, right: Image.Image) -> Image.Image:
    """The left half of one picture beside the right half of the other, with a line between them."""
    middle = SIDE // 2
    picture = left.copy()
    picture.paste(right.crop((middle, 0, SIDE, SIDE)), (middle, 0))
    ImageDraw.Draw(picture).line([(middle, 0), (middle, SIDE)], "white", 2)
    return picture


def film(frame: Image.Image) -> Image.Image:
    """Three frames of a film, in which the camera moves."""
    strip = Image.new("RGB", (SIDE, SIDE), "#111111")
    draw = ImageDraw.Draw(strip)
    height, border = SIDE // 3 - 14, 50
    for i in range(3):
        shown = frame.crop((20 * i, 165, 20 * i + SIDE - 2 * border, 165 + height))
        strip.paste(shown, (border, 7 + i * SIDE // 3))
    for y in range(6, SIDE, 33):
        for x in (14, SIDE - 36):
            draw.rounded_rectangle((x, y, x + 22, y + 15), 4, "#eeeeee")
    return strip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path, help="the folder of the portraits")
    folder = parser.parse_args().portraits
    woman, man, other = (Portrait(folder, face) for face in FACES)
    drawn = {
        "Portrait x2": halves(woman.before, woman.after("portrait")),
        "Portrait x2 sharpened": halves(man.before, man.after("portrait", Finish(sharpen=True, anti_alias=True))),
        "Your own checkpoint": halves(other.after("portrait"), other.after("fidelity")),
        "Old JPEG to clean x4": halves(*other.compressed(quality=40)),
        "Video to 1080p in memory": film(man.after("portrait")),
        "Video from file to file": film(woman.after("portrait")),
    }
    for name, picture in drawn.items():
        picture.save(FOLDER / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
