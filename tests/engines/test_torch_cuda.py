import dataclasses
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinysr_core.engines.torch_cuda import CudnnNetwork, padded
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.model.network import TinySR

from .networks import random_network

CONFIGS = [
    PRESETS["tiny"],
    ModelConfig(scale=3, channels=13, blocks=2, reduction=3),  # 4 hidden units
    ModelConfig(channels=54, blocks=2, reduction=1),  # 54 hidden units
    ModelConfig(channels=9, blocks=1, attention=False),
]


def network(config: ModelConfig) -> TinySR:
    model = random_network(config)
    for conv in model.trunk:
        conv.bias.uniform_(-0.2, 0.2)
    return model


@pytest.fixture
def cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces cuDNN's functions by torch's own, for machines without cuDNN."""

    def convolution_relu(features: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
        return F.conv2d(features, weight, bias, *options).relu()

    def convolution(
        features: Tensor, weight: Tensor, padding: Any, stride: Any, dilation: Any, groups: int, *flags: bool
    ) -> Tensor:
        assert flags == (False, False, False), "neither benchmarks, nor slow algorithms, nor TF32"
        return F.conv2d(features, weight, None, stride, padding, dilation, groups)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", convolution_relu)
    monkeypatch.setattr(torch, "cudnn_convolution", convolution)


@pytest.mark.parametrize("config", CONFIGS)
def test_added_channels_change_nothing(config: ModelConfig) -> None:
    model = network(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wide = padded(model)
    assert wide.config.channels % 8 == 0 and wide.config.channels - config.channels < 8
    image = torch.rand(2, 3, 20, 30)
    torch.testing.assert_close(wide(image), model(image), atol=1e-6, rtol=0)
    part = (slice(3, 9), slice(5, 30))
    pooled, ours = model.pooled(image, *part), wide.pooled(image, *part)
    torch.testing.assert_close(ours[:, : config.channels], pooled, atol=1e-6, rtol=0)
    assert not ours[:, config.channels :].any()
    if model.attention is not None and wide.attention is not None:
        gate = wide.attention(ours)
        torch.testing.assert_close(gate[:, : config.channels], model.attention(pooled))
        torch.testing.assert_close(wide(image, gate), model(image, model.attention(pooled)), atol=1e-6, rtol=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_network_that_fits_is_shared() -> None:
    model = network(PRESETS["paper"])
    assert padded(model) is model


def test_upscaling_with_added_channels() -> None:
    """A picture large enough for probe windows, in tiles."""
    model, image = network(ModelConfig(channels=13, blocks=2, reduction=3)), torch.rand(1, 3, 100, 530)
    plain, wide = (Upscaler(TorchEngine(each, "cpu", "fp32"), 200).upscale(image) for each in (model, padded(model)))
    torch.testing.assert_close(wide, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("config", CONFIGS)
def test_it_is_what_the_network_gives(config: ModelConfig, fused: bool, cudnn: None) -> None:
    model, image = network(config), torch.rand(2, 3, 20, 30)
    ours = CudnnNetwork(model, fused=fused)
    torch.testing.assert_close(ours(image, None), model(image), atol=1e-6, rtol=0)
    part = (slice(3, 9), slice(5, 30))
    torch.testing.assert_close(ours.pooled(image, *part), model.pooled(image, *part), atol=1e-6, rtol=0)
    if config.attention:
        gate = torch.rand(1, config.channels)
        torch.testing.assert_close(ours(image, gate), model(image, gate), atol=1e-6, rtol=0)


def test_torch_takes_the_arguments_in_this_order() -> None:
    names = [argument.name for argument in torch.ops.aten.cudnn_convolution_relu.default._schema.arguments]
    assert names == ["self", "weight", "bias", "stride", "padding", "dilation", "groups"]
    names = [argument.name for argument in torch.ops.aten.cudnn_convolution.default._schema.arguments]
    flags = ["benchmark", "deterministic", "allow_tf32"]
    assert names == ["self", "weight", "padding", "stride", "dilation", "groups", *flags]


def test_a_fused_network_needs_no_more_features_at_once(cudnn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[Any] = []
    most = 0
    convolution = torch.cudnn_convolution_relu

    def counted(*arguments: Any) -> Tensor:
        nonlocal most
        result = convolution(*arguments)
        alive.append(weakref.ref(result))
        most = max(most, sum(each() is not None for each in alive))
        return result

    monkeypatch.setattr(torch, "cudnn_convolution_relu", counted)
    model = network(dataclasses.replace(PRESETS["tiny"], blocks=6))
    CudnnNetwork(model, fused=True)(torch.rand(1, 3, 8, 8), None)
    assert most == 3
