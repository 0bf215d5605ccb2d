"""Tests that need a CUDA device, skipped if torch finds none. `benchmarks/gpu.py` measures the speed."""

from typing import Any

import numpy as np
import pytest
import torch

from tinysr_core.engines import upscaler
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def engine(device: str, precision: Any) -> TorchEngine:
    return TorchEngine.from_checkpoint(read_checkpoint(find_checkpoint("portrait", 2)), device, precision)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth like a photograph, and large enough for probe windows."""
    coarse = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (400, 600), mode="bicubic").clamp(0, 1).numpy()


@pytest.fixture(scope="module")
def expected(picture: np.ndarray) -> np.ndarray:
    return Upscaler(engine("cpu", "fp32")).upscale(picture)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 65), ("fp16", 65), ("bf16", 55)])
@pytest.mark.parametrize("tile", [None, 150])
def test_the_picture_is_the_cpus(
    precision: str, least: float, tile: int | None, picture: np.ndarray, expected: np.ndarray
) -> None:
    ours = Upscaler(engine("cuda", precision), tile)
    result = ours.upscale(picture)
    assert -10 * np.log10(np.square(result - expected).mean()) > least
    on_host = ours.upscale(torch.from_numpy(picture))
    on_gpu = ours.upscale(torch.from_numpy(picture).cuda())
    assert on_gpu.is_cuda and not on_host.is_cuda
    np.testing.assert_allclose(on_host, result, atol=2e-3)
    np.testing.assert_allclose(on_gpu.cpu(), result, atol=2e-3)


@pytest.mark.skipif(torch.version.hip is not None, reason="AMD's cards have no cuDNN")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_fastest_path_passes_its_trial(precision: str) -> None:
    assert engine("cuda", precision).path.name.endswith("with cuDNN")


@pytest.mark.skipif(torch.version.hip is not None, reason="AMD's cards have no TF32 by default")
def test_fp32_has_no_tf32_even_where_the_host_allows_it(picture: np.ndarray, expected: np.ndarray) -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        result = Upscaler(engine("cuda", "fp32"), 150).upscale(picture)
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("tile", [None, 150])
def test_on_the_gpu_nothing_waits_before_the_last_tile(
    tile: int | None, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end, it waits to learn whether all values are finite."""
    monkeypatch.setattr(upscaler, "all_finite", lambda tile: True)
    ours, image = Upscaler(engine("cuda", "fp16"), tile), torch.from_numpy(picture).cuda()
    ours.upscale(image)  # the first call may wait, for example to cache the kernels of the skip
    torch.cuda.set_sync_debug_mode("error")
    try:
        ours.upscale(image)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_cancelling_between_tiles_leaves_it_usable(picture: np.ndarray, expected: np.ndarray) -> None:
    ours = Upscaler(engine("cuda", "fp32"), 100)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.upscale(picture, stop)
    assert -10 * np.log10(np.square(ours.upscale(picture) - expected).mean()) > 60
