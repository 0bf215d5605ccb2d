from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core import Picture, enhance, load_upscaler, upscale
from tinysr_core.engines import Upscaler
from tinysr_core.errors import MemoryLimitError, RequestError
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.postprocess import ExactSize, Finish, LongestSide


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network, which adds nothing to bicubic."""
    config = ModelConfig(2, channels=16, blocks=1, attention=False)
    path = tmp_path_factory.mktemp("network") / "tiny-x2.safetensors"
    write_checkpoint(path, config, {name: np.zeros(shape, np.float32) for name, shape in config.shapes.items()}, {})
    return path


@pytest.fixture(scope="module")
def upscaler(network: Path) -> Upscaler:
    return load_upscaler(network, device="cpu", precision="fp32")


def test_files(network: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (9, 99, 199)).save(tmp_path / "in.png")
    result = upscale(tmp_path / "in.png", tmp_path / "out.jpg", model=network, sharpen=True)
    assert isinstance(result, Picture) and (result.width, result.height) == (60, 40)
    with Image.open(tmp_path / "out.jpg") as written:
        assert (written.format, written.size) == ("JPEG", (60, 40))
    assert upscale(str(tmp_path / "in.png"), model=network, scale=1.5).width == 45
    assert upscale(str(tmp_path / "in.png"), model=network, size=LongestSide(99)).width == 99


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pillow_pictures(upscaler: Upscaler, mode: str) -> None:
    result = upscale(Image.new(mode, (30, 20), 100), model=upscaler)
    assert (result.mode, result.size) == (mode, (60, 40))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
def test_arrays_keep_their_type_and_layout(upscaler: Upscaler, shape: tuple[int, ...], dtype: type) -> None:
    value = 0.5 if np.dtype(dtype).kind == "f" else 100
    result = upscale(np.full(shape, value, dtype), model=upscaler)
    assert result.shape == (40, 60, *shape[2:]) and result.dtype == dtype
    assert np.allclose(result, value, atol=value / 255)


def test_what_makes_no_picture_is_refused(upscaler: Upscaler) -> None:
    for array in (np.zeros((1, 3, 8, 8)), np.zeros((8, 8, 5)), np.zeros((0, 8)), np.zeros((8, 8), np.int64)):
        with pytest.raises(RequestError, match="must be"):
            upscale(array, model=upscaler)
    with pytest.raises(RequestError, match="only one"):
        upscale(np.zeros((8, 8)), model=upscaler, scale=2, size=LongestSide(9))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 255.0, -50.0])
def test_values_that_are_no_pixels_are_refused(upscaler: Upscaler, bad: float) -> None:
    pixels = np.zeros((1, 3, 8, 8), np.float32)
    pixels[0, 0, 3, 3] = bad
    with pytest.raises(RequestError, match=r"\[0, 1\]"):
        enhance(upscaler, pixels)
    with pytest.raises(RequestError, match=r"\[0, 1\]"):
        enhance(upscaler, np.zeros((1, 3, 8, 8), np.float32), pixels[:, :1])
    overshoot = np.full((1, 3, 8, 8), 1.1, np.float32)
    assert enhance(upscaler, overshoot)[0].max() <= 1


def test_a_result_beyond_memory_is_refused_before_the_work(upscaler: Upscaler) -> None:
    with pytest.raises(MemoryLimitError, match="bytes of memory"):
        enhance(upscaler, np.zeros((1, 3, 8, 8), np.float32), finish=Finish(ExactSize(2_000_000, 2_000_000)))
