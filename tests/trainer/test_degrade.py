import numpy as np
import pytest
from PIL import Image

from tinysr_core.trainer.degrade import DegradeConfig, degrade

OFF = (0.0, 0.0)
FINE = (95.0, 95.0)


def blurred(config: DegradeConfig, picture: np.ndarray, seed: int = 0) -> np.ndarray:
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


def test_nothing_happens_by_default(scene: np.ndarray) -> None:
    np.testing.assert_array_equal(blurred(DegradeConfig(), scene), scene)


def test_noise_has_the_stated_deviation() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    config = DegradeConfig(share=1, blur=OFF, noise=(6, 6), quality=FINE)
    luma = blurred(config, grey) @ np.array([0.299, 0.587, 0.114])
    assert luma.std() == pytest.approx(6 * np.linalg.norm([0.299, 0.587, 0.114]), rel=0.1)


def test_blur_softens_edges(scene: np.ndarray) -> None:
    sharp = blurred(DegradeConfig(share=1, blur=OFF, noise=OFF, quality=FINE), scene)
    soft = blurred(DegradeConfig(share=1, blur=(1.5, 1.5), noise=OFF, quality=FINE), scene)
    assert np.abs(np.diff(soft, axis=1)).max() < 0.6 * np.abs(np.diff(sharp, axis=1)).max()
    np.testing.assert_allclose(soft[:, :16].mean(), sharp[:, :16].mean(), atol=2)


def test_jpeg_blocks_lie_where_they_would_in_a_whole_picture(scene: np.ndarray) -> None:
    config = DegradeConfig(share=1, blur=OFF, noise=OFF, quality=(10, 10))
    results = [blurred(config, scene, seed) for seed in range(8)]
    errors = [np.abs(result - scene).mean() for result in results]
    assert min(errors) > 1
    assert len({result.tobytes() for result in results}) == 8  # another offset each time
    assert max(errors) < 25


@pytest.mark.parametrize("size", [1, 8, 17])
def test_small_patches(size: int) -> None:
    picture = np.full((size, size, 3), 90, np.uint8)
    result = blurred(DegradeConfig(share=1, blur=(2, 2), noise=OFF), picture, 5)
    np.testing.assert_allclose(result, 90, atol=3)


@pytest.mark.parametrize(
    "values", [{"share": 2.0}, {"blur": (1.0, 0.5)}, {"quality": (0.0, 50.0)}, {"noise": (0.0, 300.0)}]
)
def test_ranges_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DegradeConfig(**values)
