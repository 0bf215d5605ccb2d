import dataclasses
import logging
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinysr_core.engines.torch_cuda import can_fuse, padded, run_fused
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.model.network import TinySR

CONFIGS = [
    PRESETS["tiny"],
    ModelConfig(scale=3, channels=13, blocks=2, reduction=3),  # 4 hidden units
    ModelConfig(channels=54, blocks=2, reduction=1),  # 54 hidden units
    ModelConfig(channels=9, blocks=1, attention=False),
]


def network(config: ModelConfig) -> TinySR:
    torch.manual_seed(0)
    model = TinySR(config).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if name.startswith("attention"):
            tensor *= 4  # or the gate would hardly depend on the picture
        if name.startswith("trunk") and name.endswith("bias"):
            tensor.uniform_(-0.2, 0.2)
    return model


def cudnn(
    features: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """What `torch.cudnn_convolution_relu` does, where there is no cuDNN."""
    return F.conv2d(features, weight, bias, stride, padding, dilation, groups).relu()


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


@pytest.mark.parametrize("config", CONFIGS)
def test_fused_is_what_the_network_gives(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cudnn_convolution_relu", cudnn)
    model, image = network(config), torch.rand(2, 3, 20, 30)
    assert can_fuse(model)
    torch.testing.assert_close(run_fused(model, image, None), model(image), atol=1e-6, rtol=0)
    if config.attention:
        gate = torch.rand(1, config.channels)
        torch.testing.assert_close(run_fused(model, image, gate), model(image, gate), atol=1e-6, rtol=0)


def test_rounding_is_no_reason_not_to_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def exact(features: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
        return cudnn(features.double(), weight.double(), bias.double(), *rest).to(features.dtype)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", exact)
    model = network(PRESETS["tiny"]).bfloat16()
    assert can_fuse(model)


@pytest.mark.parametrize("missing", ["bias", "ReLU"])
def test_a_cudnn_that_is_wrong_is_not_used(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(features: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
        return (
            cudnn(features, weight, 0 * bias, *rest) if missing == "bias" else F.conv2d(features, weight, bias, *rest)
        )

    monkeypatch.setattr(torch, "cudnn_convolution_relu", wrong)
    with caplog.at_level(logging.INFO):
        assert not can_fuse(network(PRESETS["tiny"]))
    assert "features are wrong" in caplog.text


def test_without_cudnn_it_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Here torch's own function is called: on a CPU it fails."""
    with caplog.at_level(logging.INFO):
        assert not can_fuse(network(PRESETS["tiny"]))
    assert len(caplog.records) == 1 and caplog.text.count("\n") == 1


def test_torch_takes_the_arguments_in_this_order() -> None:
    names = [argument.name for argument in torch.ops.aten.cudnn_convolution_relu.default._schema.arguments]
    assert names == ["self", "weight", "bias", "stride", "padding", "dilation", "groups"]


def test_a_fused_network_needs_no_more_features_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[Any] = []
    most = 0

    def counted(*arguments: Any) -> Tensor:
        nonlocal most
        result = cudnn(*arguments)
        alive.append(weakref.ref(result))
        most = max(most, sum(each() is not None for each in alive))
        return result

    monkeypatch.setattr(torch, "cudnn_convolution_relu", counted)
    model = network(dataclasses.replace(PRESETS["tiny"], blocks=6))
    run_fused(model, torch.rand(1, 3, 8, 8), None)
    assert most == 3
