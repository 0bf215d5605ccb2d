from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from tinysr_core.errors import DataError
from tinysr_core.evaluation.metrics import lpips_distance, luma, psnr_y, ssim_y, texture_distance
from tinysr_core.loss.lpips import Lpips, load_lpips


def noise(seed: int = 0, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_luma_is_in_the_studio_range() -> None:
    ends = luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    np.testing.assert_allclose(ends, [[16, 235]], atol=1e-9)


def test_psnr_of_a_known_difference() -> None:
    original = np.full((20, 20, 3), 100, np.uint8)
    off_by_two = original + np.uint8(2)
    expected = 20 * np.log10(255 / (2 * 219 / 255))
    assert psnr_y(off_by_two, original, 2) == pytest.approx(expected)
    assert psnr_y(original, original, 2) == float("inf")


def test_the_border_is_left_out() -> None:
    original = noise()
    changed = original.copy()
    changed[:2] = 0
    changed[:, -2:] = 0
    assert psnr_y(changed, original, 2) == float("inf")
    assert psnr_y(changed, original, 1) < 40


def test_ssim_agrees_with_scikit_image() -> None:
    """scikit-image also computes windows that reach beyond the edges; the others are 5 pixels inside."""
    a, b = noise(0), (noise(0) // 2 + noise(1) // 2).astype(np.uint8)
    _, whole = structural_similarity(
        luma(a), luma(b), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert ssim_y(a, b, 0) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-6)
    assert ssim_y(a, a, 3) == pytest.approx(1)


def test_texture_prefers_sharp_detail_to_blur_and_to_noise() -> None:
    """As people and LPIPS do."""
    original = read(Path(__file__).parents[2] / "examples" / "portrait.png")[100:228, 100:228]
    height, width = original.shape[:2]
    small = Image.fromarray(original).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    blurred = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    noisy = np.clip(blurred + np.random.default_rng(0).normal(0, 8, original.shape), 0, 255).astype(np.uint8)
    half = (original // 2 + blurred // 2).astype(np.uint8)
    distances = [texture_distance(picture, original, 2) for picture in (original, half, blurred, noisy)]
    assert distances[0] == pytest.approx(0, abs=1e-9)
    assert distances == sorted(distances)


def test_texture_of_small_pictures_is_a_number() -> None:
    assert 0 < texture_distance(noise(0, 17, 9), noise(1, 17, 9), 2) < 1


def test_other_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="different sizes"):
        psnr_y(noise(), noise(height=41), 2)


@pytest.mark.parametrize(
    ("backbone", "picture", "expected"),
    [("alex", "ex_p0", 0.722), ("alex", "ex_p1", 0.138), ("squeeze", "ex_p0", 0.711), ("squeeze", "ex_p1", 0.148)],
)
def test_published_answers_of_lpips(
    backbone: Literal["alex", "squeeze"], picture: str, expected: float, shared: Path
) -> None:
    """Of its authors, for their pictures and weights."""
    folder = shared / "data" / "val" / "lpips_known_answer"
    lpips = load_lpips(backbone, shared / "weights")
    assert lpips_distance(lpips, read(folder / f"{picture}.png"), read(folder / "ex_ref.png")) == pytest.approx(
        expected, abs=1e-3
    )
    assert lpips_distance(lpips, read(folder / "ex_ref.png"), read(folder / "ex_ref.png")) == 0


def test_pictures_too_small_for_lpips_are_refused() -> None:
    small = noise(height=31)
    with pytest.raises(DataError, match="at least 32 pixels"):
        lpips_distance(cast(Lpips, None), small, small)
