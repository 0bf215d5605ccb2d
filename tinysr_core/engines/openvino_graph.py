"""The network as OpenVINO graphs, built from the tensors of a checkpoint. Needs OpenVINO.

All graphs take `image` [1,3,h,w], float32 in [0,1], of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from ..model import Checkpoint, skip_kernel
from .int8 import STEPS, largest_weights, steps_of
from .openvino_runtime import openvino

op = openvino.opset13

VERSION = 4
"""Incremented when a change of the graphs invalidates saved calibrations."""


@dataclass(frozen=True)
class Graphs:
    """Graphs of one network in fp32, or in int8 if `ranges` are given.

    In int8, the trunk's weights are quantised to 8 bits per output channel, and the inputs of its convs to 8 bits per
    tensor. Sums, biases, the gate and the bicubic skip stay in float. So do the first conv, because the picture may
    have more than 8 bits, and the last, whose error would go straight into the result: with it in int8, the result
    would be 4 to 15 dB further from that of fp32, for 4 to 7 % less time.
    """

    checkpoint: Checkpoint
    ranges: Sequence[float] | None = None
    """The largest input of each conv of the trunk; see `openvino_int8`."""

    def upscale(self, own_gate: bool) -> openvino.Model:
        """`image`, and without `own_gate` also `gate` [C] -> SR picture [1,3,s*h,s*w], not clamped."""
        image = _image()
        if own_gate:
            return _model([self._enlarged(image, None)], [image], "tinysr")
        gate = op.parameter([self.checkpoint.config.channels], np.float32, name="gate")
        return _model([self._enlarged(image, gate)], [image, gate], "tinysr_gated")

    def pool(self) -> openvino.Model:
        """`image`, `start` [2] and `stop` [2] (row, column) -> mean trunk features [C] over that window."""
        image = _image()
        start, stop = (op.parameter([2], np.int64, name=name) for name in ("start", "stop"))
        deep = self._features(image)[-1]
        core = op.slice(deep, start, stop, _constant(np.ones(2, np.int64)), _constant(np.array([2, 3])))
        return _model([_mean(core)], [image, start, stop], "tinysr_pool")

    def largest_inputs(self) -> openvino.Model:
        """`image` -> the largest input of each conv of the trunk: [blocks]."""
        image = _image()
        axes, one = _constant(np.arange(4)), _constant(np.array([1]))
        largest = [op.reshape(op.reduce_max(x, axes), one, False) for x in self._features(image)[:-1]]
        return _model([op.concat(largest, 0)], [image], "tinysr_ranges")

    def _enlarged(self, image: openvino.Node, gate: openvino.Node | None) -> openvino.Node:
        config = self.checkpoint.config
        features = self._features(image)
        shallow, deep = features[0], features[-1]
        if config.attention:
            gate = self._own_gate(deep) if gate is None else gate
            deep = op.multiply(deep, op.reshape(gate, _constant(np.array([1, config.channels, 1, 1])), False))
        detail = self._conv(op.add(shallow, deep), "tail")
        return op.depth_to_space(op.add(detail, _skip(image, config.scale)), "depth_first", config.scale)

    def _features(self, image: openvino.Node) -> list[openvino.Node]:
        """The features of the head, then those of each conv of the trunk."""
        head = op.relu(self._conv(image, "head"))
        return list(accumulate(range(self.checkpoint.config.blocks), self._trunk_features, initial=head))

    def _own_gate(self, deep: openvino.Node) -> openvino.Node:
        weights = (self.checkpoint.tensors[f"attention.{name}.weight"] for name in ("squeeze", "excite"))
        squeeze, excite = (_constant(weight) for weight in weights)
        hidden = op.relu(op.matmul(squeeze, _mean(deep), False, False))
        return op.sigmoid(op.matmul(excite, hidden, False, False))

    def _trunk_features(self, x: openvino.Node, layer: int) -> openvino.Node:
        name = f"trunk.{layer}"
        if self.ranges is None:
            return op.relu(self._conv(x, name))
        weight = self.checkpoint.tensors[f"{name}.weight"]
        largest = largest_weights(weight)
        rounded = (steps_of(weight) * (largest / STEPS)).astype(np.float32)
        kernel = _quantised(_constant(rounded), -largest, largest, 2 * STEPS + 1)
        x = _quantised(x, np.zeros(1), np.array([self.ranges[layer]]), 256)
        return op.relu(self._conv(x, name, kernel))

    def _conv(self, x: openvino.Node, layer: str, kernel: openvino.Node | None = None) -> openvino.Node:
        """A conv with the padding that keeps the size. `kernel` replaces the layer's weight."""
        weight, bias = (self.checkpoint.tensors[f"{layer}.{name}"] for name in ("weight", "bias"))
        border = [weight.shape[2] // 2] * 2
        kernel = _constant(weight) if kernel is None else kernel
        return op.add(op.convolution(x, kernel, [1, 1], border, border, [1, 1]), _constant(bias[:, None, None]))


def _model(outputs: list[openvino.Node], inputs: list[Any], name: str) -> openvino.Model:
    return openvino.Model(outputs, inputs, name)  # pyright: ignore[reportGeneralTypeIssues]  # wrong types in OpenVINO


def _image() -> Any:
    return op.parameter(openvino.PartialShape([1, 3, -1, -1]), np.float32, name="image")


def _constant(value: Any) -> openvino.Node:
    return op.constant(np.ascontiguousarray(value))


def _quantised(x: openvino.Node, low: Any, high: Any, levels: int) -> openvino.Node:
    """Clip `x` to [`low`,`high`] and round it to `levels`. This makes OpenVINO compute in integers."""
    ends = _constant(low.astype(np.float32)), _constant(high.astype(np.float32))
    return op.fake_quantize(x, *ends, *ends, levels)


def _mean(features: openvino.Node) -> openvino.Node:
    return op.reshape(op.reduce_mean(features, _constant(np.array([2, 3])), False), _constant(np.array([-1])), False)


def _skip(image: openvino.Node, scale: int) -> openvino.Node:
    """The bicubic enlargement before its pixel shuffle: [1,3*s^2,h,w]."""
    kernels = np.zeros((3, scale**2, 3, 5, 5), np.float32)
    for colour in range(3):
        kernels[colour, :, colour] = skip_kernel(scale)
    border = _constant(np.array([0, 0, 2, 2]))
    bordered = op.pad(image, border, border, "edge")
    kernel = _constant(kernels.reshape(3 * scale**2, 3, 5, 5))
    return op.convolution(bordered, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
