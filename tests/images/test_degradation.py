import io

import numpy as np
import pytest
from PIL import Image

from tinysr_core.images.degradation import choose_clean, jpeg_quality_of_table, measure_degradation


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Noise of all scales with a few edges: compression affects it like a photograph."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(240)[:, None], np.fft.rfftfreq(320))[..., None]
    spectrum = np.fft.rfft2(rng.normal(size=(240, 320, 3)), axes=(0, 1)) / (frequency + 0.003) ** 1.7
    picture = np.fft.irfft2(spectrum, axes=(0, 1))
    picture[60:130, 100:190] += picture.std()
    return Image.fromarray((128 + 45 * picture / picture.std()).clip(0, 255).astype(np.uint8))


def planes(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255


def through(image: Image.Image, kind: str = "JPEG", **options: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(stream).convert("RGB")


def test_nothing_is_found_in_a_clean_picture(scene: Image.Image) -> None:
    found = measure_degradation(planes(scene))
    assert found.jpeg_quality is None
    assert found.blocks < 0.03
    assert found.resized_blocks < 3


@pytest.mark.parametrize("quality", [30, 50, 75, 85])
@pytest.mark.parametrize("crop", [(0, 0), (3, 5)])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_the_quality_is_read_off_the_pixels(
    scene: Image.Image, quality: int, crop: tuple[int, int], subsampling: str
) -> None:
    saved = through(scene, quality=quality, subsampling=subsampling)
    found = measure_degradation(planes(saved.crop((*crop, *saved.size))))
    assert found.jpeg_quality == pytest.approx(quality, abs=4)
    assert found.blocks > 0.03


def test_grey_pictures_show_it_as_well(scene: Image.Image) -> None:
    grey = planes(through(scene.convert("L"), quality=60))[:1]
    assert measure_degradation(grey).jpeg_quality == pytest.approx(60, abs=3)


def test_webp_shows_blocks(scene: Image.Image) -> None:
    found = measure_degradation(planes(through(scene, "WEBP", quality=50)))
    assert found.blocks > 0.03


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_a_resized_jpeg_is_recognised(scene: Image.Image, factor: float) -> None:
    saved = through(scene, quality=40)
    size = (round(saved.width * factor), round(saved.height * factor))
    assert choose_clean(planes(saved.resize(size, Image.Resampling.BICUBIC))).amount == 1


@pytest.mark.parametrize("deviation", [0.0, 3.0, 8.0])
def test_noise_is_measured_in_levels(deviation: float) -> None:
    rng = np.random.default_rng(1)
    noisy = 0.5 + rng.normal(0, deviation / 255, (1, 200, 200)).astype(np.float32)
    assert measure_degradation(noisy).noise == pytest.approx(deviation, rel=0.25)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (16, 16), (17, 300)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    flat = measure_degradation(np.full((3, *size), 0.3, np.float32))
    assert flat.jpeg_quality is None
    assert (flat.blocks, flat.noise) == (0, pytest.approx(0, abs=1e-3))


def test_quality_of_libjpegs_tables(scene: Image.Image) -> None:
    for quality in (10, 50, 75, 92, 100):
        stream = io.BytesIO()
        scene.save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            assert jpeg_quality_of_table(image.quantization[0]) == pytest.approx(quality, abs=5)


def test_clean_is_chosen_with_a_reason(scene: Image.Image) -> None:
    saved = planes(through(scene, quality=60))
    noisy = (planes(scene) + np.random.default_rng(0).normal(0, 8 / 255, (3, 240, 320))).clip(0, 1).astype(np.float32)
    assert str(choose_clean(planes(scene))) == "clean 0: no traces of compression or noise"
    assert str(choose_clean(planes(scene), 95)) == "clean 0: JPEG quality 95"
    assert str(choose_clean(planes(scene), 62)) == "clean 1: JPEG quality 62"
    assert choose_clean(saved).amount == choose_clean(saved, 95).amount == choose_clean(noisy).amount == 1
    assert "noise" in choose_clean(noisy).reason


def test_a_resized_jpeg_is_cleaned_at_any_last_quality(scene: Image.Image) -> None:
    saved = through(scene, quality=30)
    again = through(saved.resize((400, 300), Image.Resampling.BICUBIC), quality=95)
    assert choose_clean(planes(again), 95).amount == 1
