"""Detect what JPEG, WebP, resizing and noise left in a picture, from its pixels, and how much cleaning it needs.

Compression works in blocks of 8 × 8 pixels. It leaves steps between blocks, and DCT coefficients that are multiples of
the quantisation steps. Both survive lossless saving and cropping. A resized picture keeps the steps between blocks, at
another period.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .picture import Picture

Plane = NDArray[np.float32]

BLOCK = 8
BANDS = 8
"""Number of bands of rows, and of columns, that are examined. They are evenly spaced."""
BAND = 16
"""Rows of a band. It contains a whole row of blocks, wherever the grid starts."""
MOST_BLOCKS = 600
"""Number of blocks that are transformed."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in BT.601, as JPEG uses them."""

QUANTIZATION_50 = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation steps of luma at quality 50 (ITU-T T.81, table K.1); libjpeg scales them."""
POSITIONS = ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0))
"""Coefficients (row, column) that are often large enough to show their quantisation steps."""
STEPS = np.arange(2, 40, dtype=np.float32)
"""Quantisation steps that can be distinguished from the rounding of pixels."""
FEWEST_LARGE = 20
"""Number of coefficients of a position that must be larger than half a step."""
IN_STEP = 0.5
"""Mean cosine from which coefficients count as multiples of a step; 1: all are multiples, 0: chance."""

PERIODS = np.array([side for side in np.geomspace(4.4, 24, 400) if abs(16 / side - round(16 / side)) > 0.06])
"""Sides of blocks in resized pictures, in pixels: not 8, and no harmonic of it."""
GOOD_QUALITY, MANY_BLOCKS, STRONG_PERIOD, STRONG_NOISE = 92, 0.075, 3.6, 2.6
"""Thresholds from which cleaning improves the result, measured on photographs."""

SMALLEST_RESIZED = 96
"""Smaller pictures show periods by chance."""


@dataclass(frozen=True)
class Degradation:
    """What was detected in a picture."""

    jpeg_quality: float | None
    """Quality on libjpeg's scale, from the quantisation steps of the coefficients; None: no steps were detected."""
    blocks: float
    """How much more often the picture has steps between blocks of 8 pixels than elsewhere, 0 to 2/3."""
    resized_blocks: float
    """Strength of the strongest other period of steps; 1 is the median of all periods."""
    noise: float
    """Standard deviation of fine noise in the smoothest tenth of the picture, in levels of [0,255]."""


def measure_degradation(pixels: NDArray[np.float32]) -> Degradation:
    """Measure a picture [C,H,W], RGB or grey, in [0,1]."""
    rows, starts = _bands(pixels)
    columns, _ = _bands(pixels.transpose(0, 2, 1))
    across, down = _step_rates(rows), _step_rates(columns)
    (left, blocks_across), (top, blocks_down) = _grid(*across), _grid(*down)
    smallest = min(pixels.shape[1:])
    grids = dict.fromkeys([(left, top), (0, 0)])  # the second is that of a picture that was not cropped
    qualities = (_jpeg_quality(_coefficients(rows, starts, *grid)) for grid in grids)
    return Degradation(
        jpeg_quality=next((quality for quality in qualities if quality is not None), None),
        blocks=max(0.0, (blocks_across + blocks_down) / 2),
        resized_blocks=_common_period(across[0], down[0]) if smallest >= SMALLEST_RESIZED else 0.0,
        noise=_noise(rows),
    )


@dataclass(frozen=True)
class Clean:
    """How much of the photo network a picture needs, and why."""

    amount: float
    """0 or 1. No amount between them was better than both for any kind of picture that was measured."""
    reason: str
    """What was found in the picture, for the user."""

    def __str__(self) -> str:
        return f"clean {self.amount:g}: {self.reason}"


def choose_clean(pixels: NDArray[np.float32], jpeg_quality: float | None = None) -> Clean:
    """What `clean="auto"` means for a picture [C,H,W], RGB or grey, in [0,1].

    Args:
        jpeg_quality: quality of the file on libjpeg's scale, where it is known. Traces of a lower quality in the pixels
            count too: the file may have been saved twice.
    """
    found = measure_degradation(pixels)
    qualities = [quality for quality in (jpeg_quality, found.jpeg_quality) if quality is not None]
    if qualities and min(qualities) < GOOD_QUALITY:
        return Clean(1, f"JPEG quality {min(qualities):.0f}")
    if not qualities and found.blocks > MANY_BLOCKS:  # a good JPEG has them, too
        return Clean(1, "steps between blocks")
    if found.resized_blocks > STRONG_PERIOD:
        return Clean(1, "steps between blocks, resized")
    if found.noise > STRONG_NOISE:
        return Clean(1, f"noise of {found.noise:.0f} levels")
    return Clean(0, f"JPEG quality {min(qualities):.0f}" if qualities else "no traces of compression or noise")


def jpeg_quality(picture: Picture) -> float | None:
    """Quality of the JPEG file that a picture was read from, 1 to 100 on libjpeg's scale; None for other files."""
    return None if picture.jpeg is None else jpeg_quality_of_table(picture.jpeg.tables[0])


def jpeg_quality_of_table(table: Sequence[int]) -> float:
    """The quality, 1 to 100, at which libjpeg's luma quantisation table has the same sum as `table`."""
    return _quality_of_scale(sum(table) / float(QUANTIZATION_50.sum()))


def _quality_of_scale(scale: float) -> float:
    """libjpeg's quality for steps that are `scale` times those of quality 50."""
    return min(100.0, max(1.0, 50 / scale if scale > 1 else 100 - 50 * scale))


def _bands(pixels: NDArray[np.float32]) -> tuple[Plane, NDArray[np.int64]]:
    """Luma of evenly spaced bands of rows, [bands, rows, W] in levels of [0,255], and the first row of each."""
    height = pixels.shape[1]
    rows = min(BAND, height)
    starts = np.unique(np.linspace(0, height - rows, BANDS).astype(int))
    bands = np.stack([pixels[:, start : start + rows] for start in starts])
    luma = bands[:, 0] if len(pixels) == 1 else np.einsum("bchw,c->bhw", bands, LUMA)
    return luma * np.float32(255), starts


def _step_rates(bands: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often the step between two columns is larger than the steps on both sides (1/3 by chance), and how often
    there is any step; from the second pair of columns on."""
    differences = np.abs(np.diff(bands, axis=2))
    before, here, after = differences[:, :, :-2], differences[:, :, 1:-1], differences[:, :, 2:]
    largest = (here > np.maximum(before, after)).sum((0, 1))
    any_there = ((before + here + after) > 0).sum((0, 1))
    return largest / np.maximum(any_there, 1), any_there.astype(float)


def _grid(rates: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[int, float]:
    """The first pixel of a block, and how much more often steps are between blocks than elsewhere.

    Medians ignore lines of the picture itself, which are at a few columns.
    """
    whole = len(rates) // BLOCK * BLOCK
    if whole < 2 * BLOCK:
        return 0, 0.0
    phases = np.median(rates[:whole].reshape(-1, BLOCK), axis=0)
    best = int(phases.argmax())
    others = np.delete(phases, [(best - 1) % BLOCK, best, (best + 1) % BLOCK])
    chance = 1 / np.sqrt(max(1.0, counts[:whole].reshape(-1, BLOCK).sum(0).min()))
    return (best + 2) % BLOCK, float(phases[best] - others.mean() - chance)


def _coefficients(bands: Plane, starts: NDArray[np.int64], left: int, top: int) -> NDArray[np.float64]:
    """DCT coefficients of blocks on the grid, [N,8,8]."""
    blocks: list[Plane] = []
    columns = (bands.shape[2] - left) // BLOCK
    for band, start in zip(bands, starts, strict=True):
        first = (top - start) % BLOCK
        part = band[first : first + BLOCK, left : left + columns * BLOCK]
        if len(part) == BLOCK:
            blocks.append(part.reshape(BLOCK, columns, BLOCK).transpose(1, 0, 2))
    if not blocks:
        return np.zeros((0, BLOCK, BLOCK))
    chosen = np.concatenate(blocks)
    chosen = chosen[:: max(1, len(chosen) // MOST_BLOCKS)]
    waves = np.cos(np.pi * np.outer(np.arange(BLOCK), 2 * np.arange(BLOCK) + 1) / (2 * BLOCK)) / 2
    waves[0] /= np.sqrt(2)
    return waves @ (chosen - 128.0) @ waves.T


def _jpeg_quality(coefficients: NDArray[np.float64]) -> float | None:
    """The quality, from the quantisation steps of coefficients; None unless at least three positions show a step."""
    scales: list[float] = []
    for row, column in POSITIONS:
        values = np.abs(coefficients[:, row, column]).astype(np.float32)
        large = values[:, None] > STEPS / 2
        counts = large.sum(0)
        cosines = (np.cos(2 * np.pi * values[:, None] / STEPS) * large).sum(0) / np.maximum(counts, 1)
        best = int(np.where(counts >= FEWEST_LARGE, cosines, 0).argmax())
        if counts[best] >= FEWEST_LARGE and cosines[best] > IN_STEP:
            scales.append(STEPS[best] / QUANTIZATION_50[row, column])
    return _quality_of_scale(float(np.median(scales))) if len(scales) >= 3 else None


def _common_period(across: NDArray[np.float64], down: NDArray[np.float64]) -> float:
    """Strength of the strongest period that is in both directions."""
    a, b = (_period_strengths(rates) for rates in (across, down))
    return float(np.sqrt((a * b).max()))


def _period_strengths(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strength of each of `PERIODS`: the mean of its first two harmonics in the spectrum, whose median is 1."""
    width = 25
    smooth = np.convolve(np.pad(rates, width // 2, "reflect"), np.full(width, 1 / width), "valid")
    waves = (rates - smooth).clip(-0.25, 0.25) * np.hanning(len(rates))
    size = 1 << int(np.ceil(np.log2(4 * max(2048, len(rates)))))
    spectrum = np.abs(np.fft.rfft(waves, size))
    harmonics = np.rint(np.array([[1], [2]]) / PERIODS * size).astype(int)
    return spectrum[harmonics].mean(0) / max(float(np.median(spectrum)), 1e-9)


def _noise(bands: Plane) -> float:
    """Noise level, from mixed second differences: edges along rows and columns do not change them."""
    crossed = np.abs(bands[:, :-1, :-1] - bands[:, 1:, :-1] - bands[:, :-1, 1:] + bands[:, 1:, 1:])
    rows, columns = (extent // BLOCK * BLOCK for extent in crossed.shape[1:])
    if not rows or not columns:
        return 0.0
    squares = (
        crossed[:, :rows, :columns].reshape(len(bands), rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).mean((2, 4))
    )
    return float(np.quantile(squares, 0.1)) / (2 * 0.798)  # of |x| with deviation 1 the mean is 0.798
