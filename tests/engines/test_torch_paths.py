"""Fast paths pass a trial before they are used; paths for GPUs are checked on machines without one."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tinysr_core.engines import torch_engine, torch_paths, upscaler
from tinysr_core.engines.tiling import tiles
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.torch_paths import TorchPath, choose_path
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.catalog import shipped_folder
from tinysr_core.model.checkpoint import read_checkpoint
from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.model.network import TinySR
from tinysr_core.model.network import _skip_kernel as skip_kernel
from tinysr_core.util import all_finite

from .networks import random_network

GPU = torch.device("lazy", 0)
"""Stands for a CUDA device: builds of torch for the CPU support its tensors, and not those of `cuda`."""
CPU = torch.device("cpu")
SMALL = ModelConfig(channels=12, blocks=2, reduction=4)


def network() -> TinySR:
    return random_network(SMALL)


def path_of(name: str, run: Any, dtype: torch.dtype = torch.float16) -> TorchPath:
    model = network()
    return TorchPath(name, CPU, dtype, torch.channels_last, model, run, model.pooled, 512)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(path.name for path in shipped_folder().glob("*.safetensors")))
def test_shipped_networks_pass_in_half_precision(name: str, dtype: torch.dtype) -> None:
    checkpoint = read_checkpoint(shipped_folder() / name)
    model = TinySR.from_tensors(checkpoint.config, {n: torch.from_numpy(t) for n, t in checkpoint.tensors.items()})
    half = torch_paths._placed(model, CPU, dtype, torch.channels_last)
    run = path_of("half", half, dtype)
    assert torch_paths._Trial(model).failure(run) is None


def wrong(image: Tensor, gate: Tensor | None, fault: str) -> Tensor:
    """The result of a path with a fault."""
    model = network()
    match fault:
        case "black":
            return torch.zeros_like(model(image))
        case "NaN":
            return torch.full_like(model(image), torch.nan)
        case "no bias":
            model.head.bias = None
        case "no gate":
            return model(image, torch.ones(1, SMALL.channels))
        case "rolled rows":
            return model(image).roll(1, 2)
        case "fails":
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED.\nmore about it")
        case _:
            raise AttributeError("module 'torch' has no attribute 'cudnn_convolution_relu'")
    return model(image)


@pytest.mark.parametrize("fault", ["black", "NaN", "no bias", "no gate", "rolled rows", "fails", "missing"])
def test_a_wrong_path_is_not_used_and_one_line_says_so(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = path_of("good", network()), path_of("bad", partial(wrong, fault=fault))
    monkeypatch.setattr(torch_paths, "_paths", lambda *_: iter([bad, good]))
    with caplog.at_level(logging.WARNING):
        assert choose_path(network(), GPU, torch.float16) is good
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("bad is not used here: ")
    assert "\n" not in caplog.messages[0]


def test_tf32_does_not_pass_for_fp32() -> None:
    """TF32 has a mantissa of 10 bits, like fp16."""
    half = torch_paths._placed(network(), CPU, torch.float16, torch.channels_last)
    assert torch_paths._Trial(network()).failure(path_of("TF32", half, torch.float32)) is not None


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Tensors have a shape, a dtype and a device, which need not exist, but no values."""
    skip_kernel.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    skip_kernel.cache_clear()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the paths that were tested, all of which give wrong results."""
    names: list[str] = []

    def failure(trial: Any, path: TorchPath) -> str:
        names.append(path.name)
        return "it is wrong"

    monkeypatch.setattr(torch_paths._Trial, "failure", failure)
    with fake_tensors():
        yield names


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_device_ends_at_the_cpu(tried: list[str], dtype: torch.dtype) -> None:
    path = choose_path(network(), GPU, dtype)
    assert (path.device, path.dtype) == (CPU, torch.float32)
    half = ["float16 on lazy:0", "float16 on lazy:0, channels first"] if dtype == torch.float16 else []
    assert tried == [*half, "float32 on lazy:0", "float32 on lazy:0, channels first"]


class OneDevice(TorchDispatchMode):
    """Makes tensors on two devices in one operation an error, also in convolutions, where fake tensors allow it."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "copy" not in str(operation):
            given = torch.utils._pytree.tree_leaves((args, kwargs))
            devices = {tensor.device for tensor in given if isinstance(tensor, Tensor) and tensor.ndim > 0}
            assert len(devices) <= 1, f"{operation} mixes {devices}"
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An imitated CUDA device: tensors have no values, and torch's own functions replace those of cuDNN."""

    def convolution(features: Tensor, weight: Tensor, padding: Any, stride: Any, dilation: Any, *rest: Any) -> Tensor:
        return F.conv2d(features, weight, None, stride, padding, dilation, rest[0])

    def convolution_relu(features: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
        return F.conv2d(features, weight, bias, *options).relu()

    class Event:
        def record(self, stream: object) -> None:
            pass

        def synchronize(self) -> None:
            pass

    for module in (torch_engine, torch_paths):
        monkeypatch.setattr(module, "is_cuda", lambda device: device == GPU)
    monkeypatch.setattr(FakeTensor, "is_cuda", property(lambda tensor: tensor.device == GPU))
    monkeypatch.setattr(torch, "cudnn_convolution", convolution)
    monkeypatch.setattr(torch, "cudnn_convolution_relu", convolution_relu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Imitation")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch_paths._Trial, "error", lambda trial, result: 0.0)
    monkeypatch.setattr(upscaler, "all_finite", lambda tile: all_finite(tile).ndim == 0)
    with fake_tensors(), OneDevice():
        yield


@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_picture_on_a_gpu(precision: Any, attention: bool, on_gpu: bool, fake_gpu: None) -> None:
    """No tensor is on the wrong device: in the tiles, in the gate from probe windows and from tiles, in the result."""
    model = TinySR(dataclasses.replace(SMALL, attention=attention)).eval().requires_grad_(False)
    engine = TorchEngine(model, str(GPU), precision)
    assert engine.path.name.endswith("with cuDNN")
    assert {tensor.device for tensor in engine.path.model.state_dict().values()} == {GPU}
    for height, width, tile in [(40, 60, None), (90, 100, 64), (100, 530, 200)]:
        image = torch.rand(1, 3, height, width, device=GPU if on_gpu else "cpu")
        result = Upscaler(engine, tile).upscale(image)
        assert (result.device, result.dtype) == (image.device, torch.float32)
        assert result.shape == (1, 3, 2 * height, 2 * width)


def test_a_gate_of_padded_channels_fits_the_fallbacks(fake_gpu: None) -> None:
    """The fallbacks on the GPU and on the CPU have as many channels as the network."""
    engine = TorchEngine(network(), str(GPU), "fp16")
    image = torch.rand(1, 3, 40, 40, device=GPU)
    gate = engine.gate(image, tiles(40, 40, 40))
    assert gate.shape == (1, 16)
    on_gpu, on_cpu = engine.fallback, engine.fallback and engine.fallback.fallback
    assert on_gpu and on_cpu and (on_gpu.path.device, on_cpu.path.device) == (GPU, CPU)
    for fallback in (on_gpu, on_cpu):
        assert fallback.run(image, gate).device == GPU


class Broken(TorchEngine):
    """Gives NaN, infinities or an error for tiles with a bright spot."""

    fault: float | str = torch.nan

    def run(self, image: Any, gate: Any) -> Any:
        if image.max() < 2:
            return super().run(image, gate)
        if isinstance(self.fault, str):
            return super().run(image, "no gate")
        return super().run(image, gate) * self.fault


@pytest.mark.parametrize("kind", [np.ndarray, Tensor])
@pytest.mark.parametrize("fault", [torch.nan, torch.inf])
def test_tiles_with_nan_or_infinities_are_done_again(fault: float, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Values can become too large in half precision. Only those tiles are repeated, in fp32."""
    image = torch.rand(1, 3, 90, 100, generator=torch.Generator().manual_seed(0))
    image[..., 80, 90] = 2
    given: Any = image if kind is Tensor else image.numpy()
    model = random_network(PRESETS["tiny"])
    engine = Broken(model, "cpu", "bf16")
    engine.fault = fault
    expected = Upscaler(TorchEngine(model, "cpu", "fp32"), 50).upscale(image)
    result = torch.as_tensor(Upscaler(engine, 50).upscale(given))
    assert caplog.messages == ["1 of 4 tiles had NaN or infinite values; they are repeated in higher precision."]
    assert torch.equal(result[..., 90:, 100:], expected[..., 90:, 100:])
    assert 0 < (result - expected).abs().max() < 0.02


def test_a_path_that_fails_on_a_tile_is_left_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    engine = TorchEngine(model, "cpu", "bf16")
    image = torch.rand(1, 3, 60, 60)

    def fail(*_: Any) -> Tensor:
        raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED\nmore")

    object.__setattr__(engine.path, "run", fail)
    result = Upscaler(engine, 40).upscale(image)
    torch.testing.assert_close(result, Upscaler(TorchEngine(model, "cpu", "fp32"), 40).upscale(image))
    assert len(caplog.messages) == 4 and "EXECUTION_FAILED" in caplog.messages[0]


def test_a_picture_with_nan_is_no_reason_to_go_on_for_ever() -> None:
    image = np.random.default_rng(0).random((1, 3, 40, 40), np.float32)
    image[..., 3, 3] = np.nan
    result = Upscaler(TorchEngine(network(), "cpu", "bf16")).upscale(image)
    assert np.isnan(result).any()
