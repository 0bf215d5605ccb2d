"""Write portraits as JPEG files the way cameras, websites and messengers do, enlarge them, and draw before and after.

    python benchmarks/gallery.py ../shared/data/val/portraits_cc0 docs/images

Each portrait goes two of the `WAYS`. Each of the 20 files is read from disk and enlarged twice as `tinysr upscale` does
by default. The table of the files goes to standard output.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from crops import SIDE, draw
from PIL import Image, ImageFilter

from tinysr_core import enhance_picture, load_upscaler, read_picture
from tinysr_core.evaluation import interpolation, to_8_bits
from tinysr_core.images import Pixels8, choose_clean, jpeg_quality, list_photos

SEED = 1
SHEETS = 2
FACES = {
    "004": (0.45, 0.45),
    "014": (0.48, 0.45),
    "024": (0.48, 0.50),
    "034": (0.56, 0.47),
    "044": (0.47, 0.48),
    "054": (0.48, 0.40),
    "064": (0.66, 0.52),
    "074": (0.49, 0.38),
    "084": (0.48, 0.46),
    "094": (0.50, 0.38),
}
"""Portrait -> centre of the crop, as shares of its width and height."""


def small(portrait: Image.Image, side: int, kernel: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """The portrait, `side` pixels wide and high."""
    return portrait.resize((side, side), kernel)


def saved(picture: Image.Image, quality: int, form: str = "JPEG", subsampling: str = "4:2:0") -> Image.Image:
    """The picture as it is read from a file of this quality."""
    options = {"subsampling": subsampling} if form == "JPEG" else {}
    stream = io.BytesIO()
    picture.save(stream, form, quality=quality, **options)
    return Image.open(stream).convert("RGB")


def noisy(picture: Image.Image, levels: float) -> Image.Image:
    """The picture with Gaussian noise."""
    pixels = np.asarray(picture, np.float64)
    noise = np.random.default_rng(SEED).normal(0, levels, pixels.shape)
    return Image.fromarray(np.rint(pixels + noise).clip(0, 255).astype(np.uint8))


def low_light(portrait: Image.Image) -> Image.Image:
    """Noise, the smear of a denoiser, and a camera's sharpening."""
    smooth = noisy(small(portrait, 400), 8).filter(ImageFilter.MedianFilter(3))
    return smooth.filter(ImageFilter.UnsharpMask(1, 80, 2))


def screenshot(portrait: Image.Image) -> Image.Image:
    """A picture on a website that a browser shows larger."""
    shown = saved(small(portrait, 320), 80)
    return shown.resize((420, 420), Image.Resampling.BILINEAR)


def thrice(portrait: Image.Image) -> Image.Image:
    """Saved twice, cropped each time."""
    first = saved(small(portrait, 420), 75)
    return saved(first.crop((5, 3, 415, 413)), 82).crop((2, 6, 402, 406))


WAYS: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "camera, best quality": (lambda p: small(p, 400), 95),
    "messenger": (lambda p: small(p, 400), 70),
    "social network: reduced, saved again": (lambda p: small(saved(small(p, 640), 85), 400), 71),
    "e-mail, small": (lambda p: small(p, 300, Image.Resampling.BOX), 60),
    "website: from WebP": (lambda p: saved(small(p, 400), 70, "WEBP"), 85),
    "screenshot of a website": (screenshot, 85),
    "phone, low light": (low_light, 85),
    "old camera: noise, sharpened": (
        lambda p: noisy(small(p, 400), 3).filter(ImageFilter.UnsharpMask(1.2, 120, 0)),
        80,
    ),
    "saved three times": (thrice, 70),
    "thumbnail, strongly compressed": (lambda p: small(p, 300, Image.Resampling.LANCZOS), 35),
}
"""How a portrait becomes a small picture, and the quality of the JPEG file."""


def crop(picture: Pixels8, x: float, y: float) -> Pixels8:
    """A square around the point that is `x` widths and `y` heights from the top left."""
    height, width, _ = picture.shape
    left, top = round(x * width) - SIDE // 2, round(y * height) - SIDE // 2
    return np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the ten portraits of FACES")
    parser.add_argument("output", type=Path, help="folder for gallery_1.jpg and gallery_2.jpg")
    arguments = parser.parse_args()
    portraits = list_photos([arguments.folder])
    upscaler, bicubic = load_upscaler(), interpolation("bicubic", 2)
    pairs: list[tuple[Pixels8, Pixels8]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (way, (make, quality)) in enumerate((way for way in WAYS.items() for _ in range(2)), 1):
            portrait = portraits[(number - 1) * 3 % len(portraits)]
            path = Path(folder) / f"{number}.jpg"
            make(Image.open(portrait).convert("RGB")).save(path, quality=quality)
            picture = read_picture(path)
            after = enhance_picture(upscaler, picture)
            before, face = bicubic(to_8_bits(picture.pixels)), FACES[portrait.stem]
            pairs.append((crop(before, *face), crop(to_8_bits(after.pixels), *face)))
            print(f"| {number} | {portrait.stem} | {way} | {choose_clean(picture.pixels[0], jpeg_quality(picture))} |")
    for sheet in range(SHEETS):
        part = pairs[sheet * len(pairs) // SHEETS : (sheet + 1) * len(pairs) // SHEETS]
        rows = [[*left, *right] for left, right in zip(part[::2], part[1::2], strict=True)]
        image = draw(rows, ["JPEG, bicubic", "TinySR"] * 2)
        image.save(arguments.output / f"gallery_{sheet + 1}.jpg", quality=88, subsampling=0)


if __name__ == "__main__":
    main()
