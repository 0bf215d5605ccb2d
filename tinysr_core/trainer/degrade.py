"""How LR patches are made: an HR patch shrunk, and spoilt as phones and messengers spoil pictures. Needs no torch."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]

BLOCK = 16
"""JPEG with halved colour and WebP work in blocks of this many pixels a side."""
KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class DegradeConfig:
    """How LR patches are spoilt, so that the network learns to mend them. The steps follow each other in the order of
    the fields. Everything is drawn anew for every patch; ranges are drawn from evenly."""

    share: float = 0.0
    """Share of the patches that are spoilt, 0 to 1; the others are shrunk by bicubic and stay clean."""
    kernels: Mapping[str, float] = field(default_factory=lambda: {"bicubic": 1.0})
    """How often each kernel shrinks the HR patch, in parts: bicubic, bilinear, box, lanczos."""
    two_steps: float = 0.0
    """Share of the patches that are shrunk in two steps, each with a kernel of its own."""
    blur: tuple[float, float] = (0.0, 0.8)
    """Standard deviation of a Gaussian blur, in LR pixels."""
    blurred: float = 1.0
    """Share of the patches that are blurred."""
    noise: tuple[float, float] = (0.0, 5.0)
    """Standard deviation of Gaussian noise, in levels of [0,255]; each channel has its own."""
    grain: float = 0.0
    """Share of the patches whose noise is correlated over a few pixels, as a camera's denoiser leaves it."""
    smear: float = 0.0
    """Share of the patches that a 3x3 median smears, by an amount between nothing and all of it."""
    resave_size: tuple[float, float] = (1.0, 1.0)
    """Size at which the patch is saved first, as a factor of the LR size; it is resized there and back."""
    resized: float = 0.0
    """Share of the patches that are first saved at another size."""
    quality: tuple[float, float] = (60.0, 95.0)
    """JPEG or WebP quality, 1 (worst) to 95."""
    mild: float = 0.5
    """Share of the qualities that are drawn from the upper half of their range."""
    full_colour: float = 0.0
    """Share of the JPEGs that keep all colour samples (4:4:4); the others halve them both ways (4:2:0)."""
    webp: float = 0.0
    """Share of the files that are WebP."""
    twice: float = 0.0
    """Share of the patches that are saved a second time, with another quality, on another grid of blocks."""

    def __post_init__(self) -> None:
        for name in (
            "share",
            "two_steps",
            "blurred",
            "grain",
            "smear",
            "resized",
            "mild",
            "full_colour",
            "webp",
            "twice",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        ranges = {"blur": (0, 5), "noise": (0, 50), "resave_size": (0.25, 4), "quality": (1, 95)}
        for name, (lowest, highest) in ranges.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} must be a range within {lowest} to {highest}, not {low} to {high}")
        unknown = sorted(set(self.kernels) - set(KERNELS))
        if unknown:
            raise ValueError(f"kernels must be of {', '.join(KERNELS)}, not {unknown[0]}")
        if not self.kernels or min(self.kernels.values()) < 0 or not sum(self.kernels.values()):
            raise ValueError("kernels must have positive parts")


def make_lr(
    picture: Image.Image, box: Box, size: tuple[int, int], config: DegradeConfig, rng: np.random.Generator
) -> Image.Image:
    """The region `box` of an RGB picture as an LR picture of `size` (width, height), spoilt where the draw says so.

    What the kernel sees around the box is taken from the picture.
    """
    if rng.random() >= config.share:
        return picture.resize(size, Image.Resampling.BICUBIC, box=box)
    return spoil(_shrink(picture, box, size, config, rng), config, rng)


def spoil(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    """The RGB picture with all that `config` does after shrinking, whatever its `share`."""
    if rng.random() < config.blurred:
        lr = lr.filter(ImageFilter.GaussianBlur(rng.uniform(*config.blur)))
    lr = _add_noise(lr, config, rng)
    if rng.random() < config.smear:
        lr = Image.blend(lr, lr.filter(ImageFilter.MedianFilter(3)), rng.random())
    if rng.random() < config.resized:
        factor = rng.uniform(*config.resave_size)
        width, height = (max(1, round(extent * factor)) for extent in lr.size)
        other = _save(lr.resize((width, height), _draw_kernel(config, rng)), config, rng)
        lr = other.resize(lr.size, _draw_kernel(config, rng))
    else:
        lr = _save(lr, config, rng)
    return _save(lr, config, rng) if rng.random() < config.twice else lr


def _shrink(
    picture: Image.Image, box: Box, size: tuple[int, int], config: DegradeConfig, rng: np.random.Generator
) -> Image.Image:
    if rng.random() >= config.two_steps:
        return picture.resize(size, _draw_kernel(config, rng), box=box)
    factor = rng.uniform(size[0] / (box[2] - box[0]), 1)
    middle = tuple(max(1, round(extent * factor)) for extent in picture.size)
    shares = (middle[0] / picture.width, middle[1] / picture.height) * 2
    left, top, right, bottom = (edge * share for edge, share in zip(box, shares, strict=True))
    first = picture.resize((middle[0], middle[1]), _draw_kernel(config, rng))
    return first.resize(size, _draw_kernel(config, rng), box=(left, top, right, bottom))


def _draw_kernel(config: DegradeConfig, rng: np.random.Generator) -> Image.Resampling:
    parts = np.array(list(config.kernels.values()), float)
    return KERNELS[list(config.kernels)[rng.choice(len(parts), p=parts / parts.sum())]]


def _add_noise(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    deviation = rng.uniform(*config.noise)
    noise = rng.normal(0, deviation, (lr.height, lr.width, 3))
    if rng.random() < config.grain:
        noise = _smooth(noise) * 2
    return Image.fromarray(np.rint(np.asarray(lr, np.float64) + noise).clip(0, 255).astype(np.uint8))


def _smooth(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over 2x2 pixels: white noise keeps half of its deviation."""
    noise = (noise + np.roll(noise, 1, 0)) / 2
    return (noise + np.roll(noise, 1, 1)) / 2


def _save(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    """Saved with loss and read again. The blocks lie as if the patch were somewhere in a whole picture."""
    low, high = config.quality
    middle = (low + high) / 2
    quality = round(rng.uniform(middle, high) if rng.random() < config.mild else rng.uniform(low, middle))
    webp = rng.random() < config.webp
    subsampling = "4:4:4" if rng.random() < config.full_colour else "4:2:0"
    top, left = (int(amount) for amount in rng.integers(BLOCK, size=2))
    pixels = np.asarray(lr)
    height, width, _ = pixels.shape
    below, right = -(top + height) % BLOCK, -(left + width) % BLOCK
    mode = "reflect" if min(height, width) > BLOCK else "edge"
    padded = Image.fromarray(np.pad(pixels, ((top, below), (left, right), (0, 0)), mode))
    stream = io.BytesIO()
    if webp:
        padded.save(stream, "WEBP", quality=quality, method=2)
    else:
        padded.save(stream, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(stream) as image:
        return image.convert("RGB").crop((left, top, left + width, top + height))
