import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tinysr_core.errors import RequestError
from tinysr_core.postprocess import slabs
from tinysr_core.postprocess.box_blur import BoxBlur
from tinysr_core.postprocess.finish import anti_alias, sharpen
from tinysr_core.util import memory
from tinysr_core.util.threads import thread_count

OPERATIONS = [sharpen, anti_alias]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def soft(height: int, width: int) -> np.ndarray:
    """Noise with the smooth areas and edges of a photograph."""
    return np.asarray(Image.fromarray(noise(height // 8, width // 8)).resize((width, height)))


def stairs() -> np.ndarray:
    """Black and white edges, where Lanczos overshoots."""
    rows, columns = np.ogrid[:90, :121]
    return np.repeat(((rows // 3 + columns // 5) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def to_float(levels: np.ndarray) -> np.ndarray:
    return levels.transpose(2, 0, 1)[None].astype(np.float32) / 255


def to_levels(image: np.ndarray) -> np.ndarray:
    return np.rint(image[0].transpose(1, 2, 0) * 255)


def pillows_anti_alias(levels: np.ndarray, blur: float = 0.5) -> np.ndarray:
    picture = Image.fromarray(levels)
    width, height = picture.size
    large = picture.resize((2 * width, 2 * height), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(large.resize((width, height), Image.Resampling.LANCZOS), float)


def pillows_sharpen(levels: np.ndarray, radius: float = 1.2, percent: int = 100, threshold: int = 1) -> np.ndarray:
    return np.asarray(Image.fromarray(levels).filter(ImageFilter.UnsharpMask(radius, percent, threshold)), float)


PICTURES = [
    noise(200, 157),
    soft(160, 240),
    stairs(),
    noise(1, 1),
    noise(1, 40),
    noise(37, 1),
    noise(2, 2),
    noise(3, 90),
]


@pytest.mark.parametrize("levels", PICTURES, ids=lambda levels: "x".join(map(str, levels.shape[:2])))
def test_are_pillows_on_eight_bits(levels: np.ndarray) -> None:
    np.testing.assert_array_equal(to_levels(sharpen(to_float(levels))), pillows_sharpen(levels))
    off = np.abs(to_levels(anti_alias(to_float(levels))) - pillows_anti_alias(levels))
    assert off.mean() <= 0.5
    assert off.max() <= 2


def test_are_pillows_on_photographs(shared: Path) -> None:
    photos = [*(shared / "data/val/set5/x2").glob("*_HR.png"), *(shared / "data/val/portraits_cc0").glob("004.jpg")]
    assert photos
    for path in photos:
        levels = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_array_equal(to_levels(sharpen(to_float(levels))), pillows_sharpen(levels))
        off = np.abs(to_levels(anti_alias(to_float(levels))) - pillows_anti_alias(levels))
        assert off.mean() <= 0.5, path
        assert off.max() <= 2, path


@pytest.mark.parametrize("radius", [0.3, 0.5, 1, 1.2, 1.5, 2.5, 4, 10])
def test_the_blur_is_pillows(radius: float) -> None:
    levels = noise(60, 80)
    image = levels.transpose(2, 0, 1)[None].astype(np.float32)
    ours = BoxBlur(radius, 0.04).rows(image, 0, 0, 60, 60)[0].transpose(1, 2, 0)
    theirs = np.asarray(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(radius)), float)
    off = np.abs(ours - theirs)
    assert off.mean() <= 0.5
    assert off.max() <= 2


@pytest.mark.parametrize(("radius", "percent", "threshold"), [(0.8, 50, 0), (2.0, 80, 0), (1.2, 200, 10)])
def test_other_settings_of_the_unsharp_mask(radius: float, percent: int, threshold: int) -> None:
    levels = soft(160, 240)
    ours = to_levels(sharpen(to_float(levels), radius, percent, threshold))
    off = np.abs(ours - pillows_sharpen(levels, radius, percent, threshold))
    assert off.mean() <= 0.5
    assert off.max() <= 2


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=25)
@given(st.integers(1, 150), st.integers(1, 40), st.integers(1, 2))
def test_slabs_join_seamlessly(operation: Callable[..., np.ndarray], height: int, width: int, batch: int) -> None:
    image = np.random.default_rng(0).random((batch, 3, height, width), np.float32)
    whole = operation(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", 1)
        patch.setattr(slabs, "BLOCK", 7)
        np.testing.assert_allclose(operation(image), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("operation", [*OPERATIONS, partial(sharpen, radius=9), partial(anti_alias, amount=0.3)])
@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_in_place_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, operation: Callable[..., Any], array: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(slabs, "SLAB", 1)
    monkeypatch.setattr(slabs, "BLOCK", 7)
    monkeypatch.setattr(slabs, "PART", 900)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    image = array(np.random.default_rng(0).random((1, 2, 90, 20), np.float32))
    expected = operation(image)
    assert operation(image, in_place=True) is image
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_in_place_needs_no_second_picture(operation: Callable[..., np.ndarray]) -> None:
    image = np.full((1, 3, 3000, 1000), 0.5, np.float32)
    tracemalloc.start()
    operation(image, in_place=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < thread_count() * (memory.SLAB_BYTES + 1000 * memory.SLAB_COLUMN_BYTES)


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=10)
@given(st.integers(1, 90), st.integers(1, 40))
def test_parts_that_stay_in_the_cache_change_nothing(
    operation: Callable[..., np.ndarray], height: int, width: int
) -> None:
    image = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    whole = operation(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "PART", 300)
        np.testing.assert_array_equal(operation(image), whole)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_torch_equals_numpy(operation: Callable[..., torch.Tensor]) -> None:
    image = to_float(soft(160, 240))
    result = operation(torch.from_numpy(image))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), operation(image), atol=1e-6)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_precision(operation: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    image = torch.from_numpy(to_float(soft(64, 72))).to(dtype)
    result = operation(image)
    assert result.dtype == dtype
    torch.testing.assert_close(result, operation(image.float()).to(dtype), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_fine_gradients_keep_their_precision(operation: Callable[..., np.ndarray]) -> None:
    ramp = np.linspace(0.2, 0.4, 3000, dtype=np.float32)
    image = np.broadcast_to(ramp, (1, 3, 8, 3000)).copy()
    inner = operation(image)[..., 20:-20]
    np.testing.assert_allclose(inner, image[..., 20:-20], atol=2e-6)


def test_alpha_and_grey_may_be_smoothed_too() -> None:
    image = to_float(noise(30, 20))
    for operation in OPERATIONS:
        np.testing.assert_array_equal(operation(image[:, 1:2]), operation(image)[:, 1:2])


def test_sharpen_sharpens_and_anti_alias_smooths() -> None:
    image = to_float(noise(96, 96)) / 2 + 0.25
    assert sharpen(image).std() > 1.1 * image.std()
    assert anti_alias(image).std() < 0.95 * image.std()


def test_no_strength_changes_nothing() -> None:
    image = to_float(noise(20, 30))
    for same in (sharpen(image, percent=0), sharpen(image, radius=0), anti_alias(image, amount=0)):
        np.testing.assert_array_equal(same, image)
    half = anti_alias(image, amount=0.5)
    np.testing.assert_allclose(half, (image + anti_alias(image)) / 2, atol=1e-6)


def test_the_source_is_left_alone_and_the_range_is_kept() -> None:
    image = to_float(stairs())
    before = image.copy()
    for operation in OPERATIONS:
        result = operation(image)
        assert 0 <= result.min() <= result.max() <= 1
        np.testing.assert_array_equal(image, before)


def test_the_doubled_picture_is_never_whole_in_memory() -> None:
    image = np.zeros((1, 3, 1200, 1600), np.float32)
    tracemalloc.start()
    result = anti_alias(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + 50_000_000 < 4 * image.nbytes


@pytest.mark.parametrize(
    "call",
    [
        lambda: sharpen(np.zeros((1, 3, 4, 4), np.float32), radius=-1),
        lambda: sharpen(np.zeros((1, 3, 4, 4), np.float32), percent=float("nan")),
        lambda: anti_alias(np.zeros((1, 3, 4, 4), np.float32), blur=-0.5),
        lambda: anti_alias(np.zeros((1, 3, 4, 4), np.float32), amount=1.5),
        lambda: sharpen(np.zeros((4, 4, 3), np.uint8)),
        lambda: anti_alias(np.zeros((1, 3, 0, 4), np.float32)),
    ],
)
def test_invalid_arguments_are_refused(call: Callable[[], np.ndarray]) -> None:
    with pytest.raises(RequestError):
        call()


def test_needs_no_torch() -> None:
    code = "import sys, tinysr_core.postprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
