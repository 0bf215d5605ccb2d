from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from tinysr_core.engines import Upscaler, load_upscaler
from tinysr_core.errors import RequestError
from tinysr_core.pipeline import bleed, enhance, enhance_mask
from tinysr_core.postprocess import ExactSize, Finish
from tinysr_core.postprocess.finish import anti_alias, sharpen
from tinysr_core.postprocess.resize import resize


class NearestEngine:
    """A network that repeats pixels, so that results are known. It remembers its input."""

    scale, halo, border, pool_halo, tile, only_enlarges = 2, 0, 0, None, 512, True
    takes_batches, parallel = False, 1

    def run(self, image: Any, gate: Any) -> Any:
        self.seen = image
        return image.repeat(2, 2).repeat(2, 3) if isinstance(image, np.ndarray) else _repeat(image)

    def moved(self, image: Any) -> Any:
        return image

    def gate(self, image: Any, cores: Any) -> Any:
        raise AssertionError


def _repeat(image: torch.Tensor) -> torch.Tensor:
    return image.repeat_interleave(2, 2).repeat_interleave(2, 3)


def colours(height: int = 12, width: int = 10, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((1, channels, height, width), dtype=np.float32)


def test_the_networks_scale_is_the_default() -> None:
    pixels, alpha = enhance(Upscaler(NearestEngine()), colours())
    np.testing.assert_array_equal(pixels, colours().repeat(2, 2).repeat(2, 3))
    assert alpha is None


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (np.zeros((3, 8, 8), np.float32), None, "must be an array"),
        (np.zeros((1, 4, 8, 8), np.float32), None, "must be an array"),
        (np.zeros((1, 3, 8, 8), np.uint8), None, "divide 8-bit pixels by 255"),
        (np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 1, 9, 9), np.float32), "alpha of these pixels must be"),
        (np.zeros((1, 3, 8, 8), np.float32), np.ones((1, 1, 8, 8), np.uint8), "divide 8-bit pixels by 255"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(8, 8), "alpha of these pixels must be"),
    ],
)
def test_arrays_of_other_shapes_and_types_are_refused(pixels: Any, alpha: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        enhance(Upscaler(NearestEngine()), pixels, alpha)


def test_any_size_is_reached_by_one_resize() -> None:
    pixels, _ = enhance(Upscaler(NearestEngine()), colours(), finish=Finish(ExactSize(31, 17)))
    expected = resize(colours().repeat(2, 2).repeat(2, 3), 17, 31).clip(0, 1)
    np.testing.assert_array_equal(pixels, expected)


def test_a_smaller_size_needs_no_network() -> None:
    engine = NearestEngine()
    pixels, _ = enhance(Upscaler(engine), colours(), finish=Finish(ExactSize(7, 12)))
    np.testing.assert_array_equal(pixels, resize(colours(), 12, 7).clip(0, 1))
    assert not hasattr(engine, "seen")


def test_a_network_that_does_more_than_enlarge_always_runs() -> None:
    engine = NearestEngine()
    engine.only_enlarges = False
    pixels, _ = enhance(Upscaler(engine), colours(), finish=Finish(size=ExactSize(width=7, height=12)))
    assert engine.seen.shape == (1, 3, 12, 10)
    np.testing.assert_array_equal(pixels, resize(colours().repeat(2, 2).repeat(2, 3), 12, 7).clip(0, 1))


def test_every_step_can_be_cancelled() -> None:
    """Progress is reported during alpha, the tiles, and the steps that follow."""
    told: list[tuple[int, int]] = []
    finish = Finish(size=ExactSize(width=30, height=30), sharpen=True, anti_alias=True)
    enhance(Upscaler(NearestEngine()), colours(), colours(channels=1), finish, progress=lambda *done: told.append(done))
    assert told.count((0, 1)) > 1
    assert told.count((1, 1)) > 3
    assert told == sorted(told)


def test_the_input_is_not_written_to() -> None:
    pixels, alpha = colours(), np.full((1, 1, 12, 10), 0.5, np.float32)
    alpha[..., 3:] = 0
    for size in (None, ExactSize(10, 12), ExactSize(5, 5), ExactSize(30, 30)):
        enhance(Upscaler(NearestEngine()), pixels, alpha, Finish(size, sharpen=True, anti_alias=True))
    np.testing.assert_array_equal(pixels, colours())
    assert set(np.unique(alpha)) == {0, 0.5}


def test_grey_is_the_mean_of_what_the_network_makes_of_it() -> None:
    class Coloured(NearestEngine):
        def run(self, image: Any, gate: Any) -> Any:
            return super().run(image, gate) + np.array([0.0, 0.03, 0.12], np.float32)[:, None, None]

    grey = np.full((1, 1, 40, 40), 0.5, np.float32)
    result, _ = enhance(Upscaler(Coloured()), grey)
    np.testing.assert_allclose(result, 0.55, atol=1e-6)


def test_grey_stays_grey() -> None:
    pixels, _ = enhance(Upscaler(NearestEngine()), colours(channels=1))
    assert pixels.shape == (1, 1, 24, 20)
    np.testing.assert_allclose(pixels, colours(channels=1).repeat(2, 2).repeat(2, 3), atol=1e-6)


def test_post_processing_follows_the_resize() -> None:
    pixels, _ = enhance(Upscaler(NearestEngine()), colours(), finish=Finish(ExactSize(30, 30), True, True))
    resized = resize(colours().repeat(2, 2).repeat(2, 3), 30, 30).clip(0, 1)
    np.testing.assert_array_equal(pixels, anti_alias(sharpen(resized)))


def test_alpha_is_resized_and_stays_in_range() -> None:
    alpha = (np.arange(120, dtype=np.float32).reshape(1, 1, 12, 10) % 2).round()
    _, grown = enhance(Upscaler(NearestEngine()), colours(), alpha)
    assert grown is not None
    assert grown.shape == (1, 1, 24, 20)
    assert 0 <= grown.min() < grown.max() <= 1
    np.testing.assert_array_equal(grown, alpha.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize("size", [(64, 64), (100, 90), (33, 70)])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_flat_parts_of_a_mask_stay_exactly_flat(size: tuple[int, int], make: Any) -> None:
    mask = np.zeros((1, 1, 32, 32), np.float32)
    mask[..., 16:], mask[..., :8, :8] = 1, 0.3
    upscaler = load_upscaler(device="cpu", engine="torch", precision="fp32")
    result = np.asarray(enhance_mask(upscaler, make(mask), size))
    assert result.shape[2:] == size
    assert result.min() >= 0 and result.max() <= 1
    rows, columns = (np.arange(length) * 32 // length for length in size)
    flat = np.isin(rows, range(12, 32))[:, None] & ~np.isin(columns, range(13, 19))
    np.testing.assert_array_equal(result[0, 0][flat], np.broadcast_to(columns >= 16, size)[flat])
    assert (result[0, 0, :4, :4] == np.float32(0.3)).all()
    whole = np.full((2, 1, 5, 7), 0.7, np.float32)
    assert (np.asarray(enhance_mask(upscaler, make(whole), (11, 20))) == np.float32(0.7)).all()


def test_the_network_draws_masks_sharper_than_interpolation() -> None:
    picture = Image.new("L", (512, 512))
    draw = ImageDraw.Draw(picture)
    random = np.random.default_rng(1)
    for x0, y0, x1, y1 in random.uniform(0, 512, (30, 4)):
        draw.line([x0, y0, x1, y1], fill=255, width=6)
    original, small = (
        np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32)[None, None] / 255
        for side in (128, 64)
    )
    upscaler = load_upscaler("fidelity", device="cpu", engine="torch", precision="fp32")
    error, plain = (
        ((found - original) ** 2).mean()
        for found in (enhance_mask(upscaler, small, (128, 128)), resize(small, 128, 128).clip(0, 1))
    )
    assert error < plain / 2  # 3 dB


def test_a_smaller_mask_needs_no_network() -> None:
    mask = colours(channels=1)
    np.testing.assert_array_equal(enhance_mask(Upscaler(NearestEngine()), mask, (6, 5)), resize(mask, 6, 5).clip(0, 1))


def test_colours_bleed_under_transparency() -> None:
    """The network does not see colours under transparency: hidden pixels take the colour of visible ones."""
    pixels = np.full((1, 3, 16, 16), 0.25, np.float32)
    alpha = np.ones((1, 1, 16, 16), np.float32)
    pixels[..., 5:], alpha[..., 5:] = 0, 0
    engine = NearestEngine()
    enhance(Upscaler(engine), pixels, alpha)
    np.testing.assert_allclose(engine.seen, 0.25, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (13, 5)])
def test_bleeding_leaves_visible_pixels_alone(shape: tuple[int, int]) -> None:
    pixels = colours(*shape)
    alpha = (np.random.default_rng(1).random((1, 1, *shape)) > 0.5).astype(np.float32)
    filled = bleed(pixels, alpha)
    visible = np.broadcast_to(alpha > 0, pixels.shape)
    np.testing.assert_array_equal(filled[visible], pixels[visible])
    assert np.isfinite(filled).all()
    tensor = bleed(torch.from_numpy(pixels), torch.from_numpy(alpha))
    np.testing.assert_allclose(tensor.numpy(), filled, atol=1e-6)


def test_a_wholly_transparent_picture_is_no_problem() -> None:
    pixels, alpha = enhance(Upscaler(NearestEngine()), colours(), np.zeros((1, 1, 12, 10), np.float32))
    assert np.isfinite(pixels).all()
    assert alpha is not None
    assert not alpha.any()


def test_tensors_come_back_as_tensors() -> None:
    pixels, alpha = enhance(
        Upscaler(NearestEngine()), torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8), Finish(ExactSize(20, 20))
    )
    assert isinstance(pixels, torch.Tensor)
    assert isinstance(alpha, torch.Tensor)
    assert (pixels.shape, alpha.shape) == ((2, 3, 20, 20), (2, 1, 20, 20))
