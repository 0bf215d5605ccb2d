"""The network as tensor cores like it in half precision: channels in eights, bias and ReLU within each convolution."""

import dataclasses
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import TinySR, bicubic_skip

ALIGNMENT = 8
"""They read 16 bytes at once: 8 channels of 2 bytes."""
TRIAL_SIDE = 32
"""Side of the picture on which fused convolutions are tried."""
TOLERANCE = 0.05
"""Largest distance of fused features from plain ones, as a share of them. With shipped weights bf16 alone makes 0.013,
a single bias that is missing 0.087, and a ReLU more."""

Layer = Callable[[nn.Conv2d, Tensor], Tensor]


def padded(model: TinySR) -> TinySR:
    """The same network with a multiple of `ALIGNMENT` channels: those that are added are 0 in every layer.

    Their gate is not, but there is nothing for it to scale. Hidden units of the attention that are added are 0, too.
    """
    config = model.config
    channels = -(-config.channels // ALIGNMENT) * ALIGNMENT
    if channels == config.channels:
        return model
    reduction = channels // (config.channels // config.reduction) if config.attention else config.reduction
    wide = dataclasses.replace(config, channels=channels, reduction=reduction)
    return TinySR.from_tensors(
        wide, {name: _grown(tensor, wide.shapes[name]) for name, tensor in model.state_dict().items()}
    )


def run_fused(model: TinySR, image: Tensor, gate: Tensor | None) -> Tensor:
    """What `model(image, gate)` gives, where cuDNN adds the bias and applies the ReLU in the kernel of the convolution.

    Torch reads and writes all features once more for each of the two.
    """
    shallow, deep = _features(model, image, _fused)
    if model.attention is not None:
        own: Tensor = model.attention(deep.mean((2, 3), dtype=torch.float32)) if gate is None else gate
        deep = torch.addcmul(shallow, deep, own[:, :, None, None].to(deep.dtype))
    else:
        deep = deep.add_(shallow)
    return bicubic_skip(image, model.config.scale).add_(F.pixel_shuffle(model.tail(deep), model.config.scale))


def can_fuse(model: TinySR) -> bool:
    """Whether `run_fused` works with `model` where its weights are, and gives the right features; else a log line."""
    noise = torch.arange(3 * TRIAL_SIDE**2, device=model.head.weight.device).mul(0.618034).frac()
    image = noise.reshape(1, 3, TRIAL_SIDE, TRIAL_SIDE).contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            _, fused = _features(model, image, _fused)
            _, plain = _features(model, image, _plain)
            if bool((fused.float() - plain.float()).norm() <= TOLERANCE * plain.float().norm()):
                return True
        trouble = "their features are wrong"
    except (RuntimeError, AttributeError) as error:  # no cuDNN, as on AMD's cards, or none that can do it
        trouble = str(error).strip().splitlines()[0]
    logging.getLogger(__name__).info("Fused convolutions are not used here (%s).", trouble)
    return False


def _features(model: TinySR, image: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """The features after the head and after the trunk."""
    shallow = deep = layer(model.head, image.to(model.head.weight.dtype))
    for conv in model.trunk:
        assert isinstance(conv, nn.Conv2d)
        deep = layer(conv, deep)
    return shallow, deep


def _fused(conv: nn.Conv2d, features: Tensor) -> Tensor:
    border = [side // 2 for side in conv.kernel_size]
    return torch.cudnn_convolution_relu(features, conv.weight, conv.bias, conv.stride, border, conv.dilation, 1)


def _plain(conv: nn.Conv2d, features: Tensor) -> Tensor:
    return F.relu_(conv(features))


def _grown(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`tensor` with zeros behind it in every dimension."""
    grown = tensor.new_zeros(shape)
    grown[tuple(slice(length) for length in tensor.shape)] = tensor
    return grown
