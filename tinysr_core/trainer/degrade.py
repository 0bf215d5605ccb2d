"""LR patches: an HR patch shrunk, and degraded as phones and messengers degrade pictures. Needs no torch."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]

BLOCK = 16
"""Side in pixels of the blocks of JPEG with 4:2:0 subsampling and of WebP."""
KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class DegradeConfig:
    """How LR patches are degraded, so that the network learns to restore them. The steps run in the order of the
    fields. All random values are drawn for each patch, those of ranges uniformly.

    Raises:
        ValueError: a share is outside [0,1], a range is outside its limits, or a kernel is unknown.
    """

    share: float = 0.0
    """Share of the patches that are degraded, 0 to 1. The others are shrunk by bicubic only."""
    kernels: Mapping[str, float] = field(default_factory=lambda: {"bicubic": 1.0})
    """Relative frequency of the kernels that shrink the HR patch: bicubic, bilinear, box, lanczos."""
    two_steps: float = 0.0
    """Share of the patches that are shrunk in two steps, each with its own kernel."""
    blur: tuple[float, float] = (0.0, 0.8)
    """Standard deviation of a Gaussian blur, in LR pixels."""
    blurred: float = 1.0
    """Share of the patches that are blurred."""
    noise: tuple[float, float] = (0.0, 5.0)
    """Standard deviation of Gaussian noise, independent per channel, in levels of [0,255]."""
    grain: float = 0.0
    """Share of the patches whose noise is correlated over 2 pixels, as after a camera's denoiser."""
    smear: float = 0.0
    """Share of the patches that are blended with their 3x3 median, by a random amount."""
    resave_size: tuple[float, float] = (1.0, 1.0)
    """Factor of the LR size at which a resized patch is saved, before it is resized back."""
    resized: float = 0.0
    """Share of the patches that are saved at another size."""
    quality: tuple[float, float] = (60.0, 95.0)
    """JPEG or WebP quality, 1 (worst) to 95."""
    mild: float = 0.5
    """Share of the qualities from the upper half of their range; the others are from the lower half."""
    full_colour: float = 0.0
    """Share of the JPEGs with 4:4:4 colour; the others have 4:2:0 subsampling."""
    webp: float = 0.0
    """Share of the files that are WebP; the others are JPEG."""
    twice: float = 0.0
    """Share of the patches that are saved a second time, with another quality and block grid."""

    def __post_init__(self) -> None:
        shares = ("share", "two_steps", "blurred", "grain", "smear", "resized", "mild", "full_colour", "webp", "twice")
        for name in shares:
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
            raise ValueError("kernels must have frequencies of at least 0, and one above 0")


def make_lr(
    picture: Image.Image, box: Box, size: tuple[int, int], config: DegradeConfig, rng: np.random.Generator
) -> Image.Image:
    """Shrink the region `box` of an RGB picture to an LR picture of `size` (width, height), and degrade it.

    `rng` draws whether and how it is degraded. Around the box, the kernel reads pixels of the picture.
    """
    if rng.random() >= config.share:
        return picture.resize(size, Image.Resampling.BICUBIC, box=box)
    return degrade(_shrink(picture, box, size, config, rng), config, rng)


def degrade(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    """Apply all steps of `config` after shrinking to an RGB picture, regardless of `config.share`."""
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
    """Means over 2x2 pixels, which halve the standard deviation of white noise."""
    noise = (noise + np.roll(noise, 1, 0)) / 2
    return (noise + np.roll(noise, 1, 1)) / 2


def _save(lr: Image.Image, config: DegradeConfig, rng: np.random.Generator) -> Image.Image:
    """Save as JPEG or WebP and read again. The block grid has a random offset, as in a crop of a larger picture."""
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
