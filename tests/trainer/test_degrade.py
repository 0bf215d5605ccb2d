import numpy as np
import pytest
from PIL import Image

from tinysr_core.trainer.degrade import DegradeConfig, degrade, make_lr

OFF = (0.0, 0.0)
FINE = (95.0, 95.0)


def degraded(config: DegradeConfig, picture: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(degrade(Image.fromarray(picture), config, rng)).astype(float)


@pytest.fixture
def scene() -> np.ndarray:
    """Smooth colours with a sharp edge."""
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(60, 200, (4, 4, 3), dtype=np.uint8))
    picture = np.array(small.resize((48, 48), Image.Resampling.BICUBIC))
    picture[:, 24:] //= 2
    return picture


def shrunk(config: DegradeConfig, picture: np.ndarray, seed: int = 0) -> np.ndarray:
    """The inner half of the picture, shrunk by 2."""
    box = (picture.shape[1] // 4, picture.shape[0] // 4, picture.shape[1] * 3 // 4, picture.shape[0] * 3 // 4)
    size = (picture.shape[1] // 4, picture.shape[0] // 4)
    return np.asarray(make_lr(Image.fromarray(picture), box, size, config, np.random.default_rng(seed))).astype(float)


def test_patches_are_shrunk_by_bicubic_by_default(scene: np.ndarray) -> None:
    expected = Image.fromarray(scene).resize((12, 12), Image.Resampling.BICUBIC, box=(12, 12, 36, 36))
    np.testing.assert_array_equal(shrunk(DegradeConfig(), scene), expected)


@pytest.mark.parametrize("two_steps", [0, 1])
def test_kernels_shrink_the_same_place(scene: np.ndarray, two_steps: float) -> None:
    """On a ramp, all kernels give the same result, and two steps do not shift it."""
    ramp = np.broadcast_to(np.linspace(0, 255, 96)[None, :, None], (96, 96, 3)).round().astype(np.uint8)
    plain = shrunk(DegradeConfig(), ramp)
    for kernel in ("bicubic", "bilinear", "box", "lanczos"):
        config = DegradeConfig(
            share=1, kernels={kernel: 1}, two_steps=two_steps, blurred=0, noise=OFF, quality=FINE, full_colour=1
        )
        np.testing.assert_allclose(shrunk(config, ramp, 3), plain, atol=2.5)


def test_every_step_alone_keeps_colours_and_size(scene: np.ndarray) -> None:
    off = {"blurred": 0, "noise": OFF, "quality": FINE, "full_colour": 1}
    steps = [
        {"grain": 1, "noise": (3, 3)},
        {"smear": 1},
        {"resized": 1, "resave_size": (0.6, 1.6)},
        {"webp": 1},
        {"twice": 1, "quality": (40, 60), "full_colour": 0},
    ]
    plain = degraded(DegradeConfig(**off), scene)
    for step in steps:
        result = degraded(DegradeConfig(**off | step), scene, 2)
        assert result.shape == scene.shape
        assert not np.array_equal(result, plain)
        np.testing.assert_allclose(result.mean((0, 1)), scene.mean((0, 1)), atol=1.5)


def test_grain_has_the_stated_deviation_and_is_correlated() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    config = DegradeConfig(blurred=0, noise=(6, 6), grain=1, quality=FINE, full_colour=1)
    result = degraded(config, grey) - 128
    assert result.std() == pytest.approx(6, rel=0.1)
    assert (result[1:] * result[:-1]).mean() / result.var() == pytest.approx(0.5, abs=0.1)


def test_mild_qualities_are_more_frequent(scene: np.ndarray) -> None:
    """A better quality gives a smaller error."""
    errors = [
        np.mean(
            [
                np.abs(
                    degraded(DegradeConfig(blurred=0, noise=OFF, quality=(10, 95), mild=mild), scene, seed) - scene
                ).mean()
                for seed in range(12)
            ]
        )
        for mild in (0.0, 1.0)
    ]
    assert errors[0] > 1.5 * errors[1]


def test_noise_has_the_stated_deviation() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    config = DegradeConfig(share=1, blur=OFF, noise=(6, 6), quality=FINE)
    luma = degraded(config, grey) @ np.array([0.299, 0.587, 0.114])
    assert luma.std() == pytest.approx(6 * np.linalg.norm([0.299, 0.587, 0.114]), rel=0.1)


def test_blur_softens_edges(scene: np.ndarray) -> None:
    sharp = degraded(DegradeConfig(share=1, blur=OFF, noise=OFF, quality=FINE), scene)
    soft = degraded(DegradeConfig(share=1, blur=(1.5, 1.5), noise=OFF, quality=FINE), scene)
    assert np.abs(np.diff(soft, axis=1)).max() < 0.6 * np.abs(np.diff(sharp, axis=1)).max()
    np.testing.assert_allclose(soft[:, :16].mean(), sharp[:, :16].mean(), atol=2)


def test_jpeg_blocks_lie_where_they_would_in_a_whole_picture(scene: np.ndarray) -> None:
    config = DegradeConfig(share=1, blur=OFF, noise=OFF, quality=(10, 10))
    results = [degraded(config, scene, seed) for seed in range(8)]
    errors = [np.abs(result - scene).mean() for result in results]
    assert min(errors) > 1
    assert len({result.tobytes() for result in results}) >= 6  # another offset each time
    assert max(errors) < 25


@pytest.mark.parametrize("size", [1, 8, 17])
def test_small_patches(size: int) -> None:
    picture = np.full((size, size, 3), 90, np.uint8)
    result = degraded(DegradeConfig(share=1, blur=(2, 2), noise=OFF), picture, 5)
    np.testing.assert_allclose(result, 90, atol=3)


@pytest.mark.parametrize(
    "values",
    [
        {"share": 2.0},
        {"blur": (1.0, 0.5)},
        {"quality": (0.0, 50.0)},
        {"noise": (0.0, 300.0)},
        {"twice": -1.0},
        {"kernels": {"none": 1.0}},
        {"kernels": {}},
    ],
)
def test_invalid_ranges_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DegradeConfig(**values)
