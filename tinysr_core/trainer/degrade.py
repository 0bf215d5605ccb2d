"""What phones and messengers do to pictures: blur, noise, JPEG. Needs no torch."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

BLOCK = 16
"""JPEG with halved colour works in blocks of this many pixels a side."""


@dataclass(frozen=True)
class DegradeConfig:
    """How LR patches are spoilt, so that the network learns to mend them. Strengths are drawn anew for every patch,
    evenly within their ranges."""

    share: float = 0.0
    """Share of the patches that are spoilt, 0 to 1; the others stay clean."""
    blur: tuple[float, float] = (0.0, 0.8)
    """Standard deviation of a Gaussian blur, in LR pixels."""
    noise: tuple[float, float] = (0.0, 5.0)
    """Standard deviation of Gaussian noise, in levels of [0,255]; each channel has its own."""
    quality: tuple[float, float] = (60.0, 95.0)
    """JPEG quality, 1 (worst) to 95."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be between 0 and 1, not {self.share}")
        for name, (lowest, highest) in {"blur": (0, 5), "noise": (0, 50), "quality": (1, 95)}.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} must be a range within {lowest} to {highest}, not {low} to {high}")


def degrade(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    """The RGB patch blurred, then with noise, then saved as JPEG (colour halved, as phones do) and read again."""
    if rng.random() >= config.share:
        return lr
    blur, noise, quality = (rng.uniform(*bounds) for bounds in (config.blur, config.noise, config.quality))
    pixels = np.asarray(lr.filter(ImageFilter.GaussianBlur(blur)), np.float64)
    pixels = np.rint(pixels + rng.normal(0, noise, pixels.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(_through_jpeg(pixels, round(quality), rng.integers(BLOCK, size=2)))


def _through_jpeg(pixels: NDArray[np.uint8], quality: int, offset: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The blocks begin `offset` pixels before the patch, as they would in the whole picture."""
    top, left = (int(amount) for amount in offset)
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), "reflect" if min(height, width) > BLOCK else "edge")
    stream = io.BytesIO()
    Image.fromarray(padded).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(stream) as image:
        return np.asarray(image)[top:, left:]
