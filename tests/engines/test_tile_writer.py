from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tinysr_core.engines import torch_engine
from tinysr_core.engines.tile_writer import TileWriter
from tinysr_core.engines.tiling import tiles
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR

PLACES = tiles(8, 10, 4)


class OnGpu(Tensor):
    """Stands for a tensor on a CUDA device."""

    is_cuda = True


class Copied:
    """Stands for a CUDA event: the copy is empty until it is waited for."""

    def __init__(self, copy: Tensor, tile: Tensor) -> None:
        self._copy, self._tile = copy, tile

    def synchronize(self) -> None:
        self._copy.copy_(self._tile)


def parts(picture: Tensor) -> list[Tensor]:
    return [picture[place.index] for place in PLACES]


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(1, 3, 8, 10)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The copies that are started and waited for, in order."""
    events: list[str] = []

    class Logged(Copied):
        def synchronize(self) -> None:
            events.append("wait")
            super().synchronize()

    def start_copy(tile: Tensor) -> tuple[Tensor, Copied]:
        events.append("start")
        copy = torch.full(tile.shape, torch.nan)
        return copy, Logged(copy, tile.as_subclass(Tensor))

    monkeypatch.setattr(torch_engine, "start_copy", start_copy)
    return events


@pytest.mark.parametrize("kind", [np.ndarray, Tensor])
def test_a_tile_of_a_gpu_is_written_during_the_next_one(kind: Any, picture: Tensor, log: list[str]) -> None:
    result = torch.zeros(1, 3, 8, 10) if kind is Tensor else np.zeros((1, 3, 8, 10), np.float32)
    writer = TileWriter(result)
    for place, tile in zip(PLACES, parts(picture), strict=True):
        writer.write(tile.as_subclass(OnGpu), place)
    writer.finish()
    np.testing.assert_array_equal(result, picture)
    assert log == ["start", *["start", "wait"] * (len(PLACES) - 1), "wait"]
    writer.finish()
    assert log.count("wait") == len(PLACES)


def test_what_is_on_the_gpu_stays_there(picture: Tensor, log: list[str]) -> None:
    result = torch.zeros(1, 3, 8, 10).as_subclass(OnGpu)
    writer = TileWriter(result)
    for place, tile in zip(PLACES, parts(picture), strict=True):
        writer.write(tile.as_subclass(OnGpu), place)
    assert torch.equal(result.as_subclass(Tensor), picture) and not log


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has pinned memory")
def test_without_pinned_memory_a_tile_is_copied_at_once(picture: Tensor) -> None:
    copy, copied = torch_engine.start_copy(picture)
    assert torch.equal(copy, picture) and copied is None


class GpuEngine(torch_engine.TorchEngine):
    """Its inputs and results seem to be on a GPU."""

    def moved(self, image: Any) -> Any:
        return self._tensor(image).as_subclass(OnGpu)

    def run(self, image: Any, gate: Any) -> Any:
        assert isinstance(image, OnGpu)
        return super().run(image.as_subclass(Tensor), gate).as_subclass(OnGpu)


@pytest.mark.parametrize("kind", [np.ndarray, Tensor])
def test_upscaling_by_way_of_a_gpu(kind: Any, log: list[str]) -> None:
    """Also after it was cancelled while a tile was being copied."""
    torch.manual_seed(0)
    model = TinySR(ModelConfig(channels=16, blocks=2)).eval().requires_grad_(False)
    image = torch.rand(2, 3, 70, 90)
    given = image if kind is Tensor else image.numpy()
    expected = Upscaler(torch_engine.TorchEngine(model, "cpu", "fp32"), 32).upscale(image)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    ours = Upscaler(GpuEngine(model, "cpu", "fp32"), 32)
    with pytest.raises(KeyboardInterrupt):
        ours.upscale(given, stop)
    assert log.count("start") == 2 and log.count("wait") == 1
    result = ours.upscale(given)
    assert isinstance(result, kind)
    np.testing.assert_array_equal(result, expected)
