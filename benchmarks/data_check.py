"""How often the photo check is right, on original photographs and on degraded copies.

    python benchmarks/data_check.py ../shared/data/train > benchmarks/results/data_check.md

It checks the first photographs of each subfolder, in every version.
"""

import io
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from tinysr_core.images import decode, list_photos, map_photos
from tinysr_core.trainer.photo_check import POOR, SOFT, SOFTISH, sharpness
from tinysr_core.trainer.photo_duplicates import NEAR, distances, perceptual_hash

PHOTOS = 12
"""Photographs for each subfolder."""


def enlarged(factor: float) -> Callable[[Image.Image], Image.Image]:
    def version(photo: Image.Image) -> Image.Image:
        small = photo.resize([round(side / factor) for side in photo.size], Image.Resampling.BICUBIC)
        return small.resize(photo.size, Image.Resampling.BICUBIC)

    return version


def blurred(radius: float) -> Callable[[Image.Image], Image.Image]:
    return lambda photo: photo.filter(ImageFilter.GaussianBlur(radius))


def saved(quality: int) -> Callable[[Image.Image], Image.Image]:
    def version(photo: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=quality)
        return Image.open(stream).convert("RGB")

    return version


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    def version(photo: Image.Image) -> Image.Image:
        x, y = (round(side * share) for side in photo.size)
        return photo.crop((x, y, photo.width - x, photo.height - y))

    return version


VERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "original": lambda photo: photo,
    "JPEG 75": saved(75),
    f"JPEG {POOR}": saved(POOR),
    "enlarged by 1.5": enlarged(1.5),
    "enlarged by 2": enlarged(2),
    "blurred by 0.7 pixels": blurred(0.7),
    "blurred by 1 pixel": blurred(1),
    "blurred by 1.5 pixels": blurred(1.5),
    "reduced by 2": lambda photo: photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BICUBIC),
    "brighter by a quarter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.25),
    "2 % cropped from each side": cropped(0.02),
    "5 % cropped from each side": cropped(0.05),
}


def measures(path: Path) -> list[tuple[float, np.ndarray]]:
    """Sharpness and hash of each version of a photograph."""
    photo = Image.fromarray(decode(path))
    versions = [np.asarray(version(photo)) for version in VERSIONS.values()]
    return [(sharpness(pixels), perceptual_hash(pixels)) for pixels in versions]


def main(folder: Path) -> None:
    photos: Sequence[Path] = [p for below in sorted(folder.iterdir()) for p in list_photos([below])[:PHOTOS]]
    found = list(map_photos(measures, photos))
    originals = np.stack([versions[0][1] for versions in found])
    print("# Accuracy of the photo check\n")
    print(f"{len(photos)} photographs (up to {PHOTOS} from each folder), each in several versions.\n")
    print(f"* Soft: sharpness below {SOFT}; the check leaves the photograph out.")
    print(f"* Doubtful: sharpness below {SOFTISH}; used with a warning.")
    print(f"* Near: at most {NEAR} of 255 bits of the hash differ.\n")
    print("| version | soft | doubtful | median sharpness | median of differing bits | near the original |")
    print("|---|---|---|---|---|---|")
    for number, name in enumerate(VERSIONS):
        sharp = [versions[number][0] for versions in found]
        bits = [
            float(distances(versions[number][1][None], original[None])[0, 0])
            for versions, original in zip(found, originals, strict=True)
        ]
        shares = (
            sum(value < SOFT for value in sharp),
            sum(SOFT <= value < SOFTISH for value in sharp),
            sum(value <= NEAR for value in bits),
        )
        soft, doubtful, near = (f"{100 * count / len(photos):.0f} %" for count in shares)
        middle = f"{statistics.median(sharp):.3f} | {statistics.median(bits):.0f}"
        print(f"| {name} | {soft} | {doubtful} | {middle} | {near} |")
    apart = distances(originals, originals)[np.triu_indices(len(photos), 1)]
    print(f"\nOf {len(apart):,} pairs of different photographs {int((apart <= NEAR).sum())} are near each other.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
