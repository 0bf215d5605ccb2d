"""The network with direct calls of cuDNN: fused layers in half precision, and fp32 without TF32."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import TinySR, bicubic_skip

ALIGNMENT = 8
"""cuDNN's fused kernels read 16 bytes at a time: 8 channels of 2 bytes."""


def padded(model: TinySR) -> TinySR:
    """The same network, padded to a multiple of `ALIGNMENT` channels.

    Added channels, and added hidden units of the attention, are 0 in every layer. The gate of added channels is not 0,
    but it scales zeros.
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


class CudnnNetwork:
    """Computes `model` with direct calls of cuDNN. See `TinySR.forward` and `TinySR.pooled`.

    Args:
        model: the network, on a CUDA device.
        fused: whether each convolution includes the bias and the ReLU, for which torch would read and write all
            features again. If not, fp32 is never rounded to TF32, which torch allows by default; tiles would differ by
            1e-3. Both are arguments of each call, so that no setting of the process changes.
    """

    def __init__(self, model: TinySR, *, fused: bool) -> None:
        self._model, self._layer = model, _fused if fused else _exact
        self._tail = model.tail if fused else partial(_exact_conv, model.tail)

    def __call__(self, image: Tensor, gate: Tensor | None) -> Tensor:
        """LR picture [B,3,h,w] and gate [B,C] or None -> SR picture [B,3,s*h,s*w]."""
        model, scale = self._model, self._model.config.scale
        shallow, deep = self._features(image)
        if model.attention is not None:
            own: Tensor = model.attention(deep.mean((2, 3), dtype=torch.float32)) if gate is None else gate
            deep = torch.addcmul(shallow, deep, own[:, :, None, None].to(deep.dtype))
        else:
            deep = deep.add_(shallow)
        return bicubic_skip(image, scale, _exact_conv2d).add_(F.pixel_shuffle(self._tail(deep), scale))

    def pooled(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Mean trunk features [B,C] over a part of `image` [B,3,h,w], as `TinySR.pooled`."""
        _, deep = self._features(image)
        return deep[:, :, rows, columns].mean((2, 3), dtype=torch.float32)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow = deep = self._layer(self._model.head, image.to(self._model.head.weight.dtype))
        for conv in self._model.trunk:
            assert isinstance(conv, nn.Conv2d)
            deep = self._layer(conv, deep)
        return shallow, deep


def _fused(conv: nn.Conv2d, features: Tensor) -> Tensor:
    return torch.cudnn_convolution_relu(
        features, conv.weight, conv.bias, conv.stride, _border(conv), conv.dilation, conv.groups
    )


def _exact(conv: nn.Conv2d, features: Tensor) -> Tensor:
    return F.relu_(_exact_conv(conv, features))


def _exact_conv(conv: nn.Conv2d, features: Tensor) -> Tensor:
    assert conv.bias is not None
    return _exact_conv2d(features, conv.weight, _border(conv)).add_(conv.bias[:, None, None])


def _exact_conv2d(image: Tensor, kernel: Tensor, border: Sequence[int] = (0, 0)) -> Tensor:
    benchmark, deterministic, allow_tf32 = False, False, False
    return torch.cudnn_convolution(image, kernel, border, (1, 1), (1, 1), 1, benchmark, deterministic, allow_tf32)


def _border(conv: nn.Conv2d) -> list[int]:
    return [side // 2 for side in conv.kernel_size]


def _grown(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`tensor` padded to `shape` with zeros at the end of each dimension."""
    grown = tensor.new_zeros(shape)
    grown[tuple(slice(length) for length in tensor.shape)] = tensor
    return grown
