"""The network as OpenVINO graphs, built from the tensors of a checkpoint. Needs OpenVINO.

All graphs take `image` [1,3,h,w], float32 in [0,1], of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from ..model import Checkpoint, skip_kernel
from .engine import Gate
from .int8 import STEPS, largest_weights, steps_of
from .openvino_runtime import openvino

op = openvino.opset13

VERSION = 3
"""Incremented when a change of the graphs invalidates saved calibrations."""
GATE_STEPS = 4096
"""With int8 layers, the gate is rounded to multiples of 1 / 4096. Its values from the whole picture and from tiles
differ in the last digits; rounding makes them equal, so that later rounding to integers cannot amplify the
difference."""


@dataclass
class Graphs:
    """Graphs of one network in fp32, or in int8 if `ranges` are given.

    In int8, weights are quantised to 8 bits per output channel, and the inputs of convs to 8 bits per tensor. Sums,
    biases, the gate and the bicubic skip stay in float. So does the first conv, which takes 5 % of the time, because
    the picture may have more than 8 bits.
    """

    checkpoint: Checkpoint
    ranges: Sequence[float] | None = None
    """The largest input of each conv after the first; see `openvino_int8`."""
    _inputs: list[openvino.Node] = field(default_factory=list[openvino.Node], init=False)
    """The inputs of the convs of the graph that is being built."""

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
        _, deep = self._features(image)
        core = op.slice(deep, start, stop, _constant(np.ones(2, np.int64)), _constant(np.array([2, 3])))
        return _model([_mean(core)], [image, start, stop], "tinysr_pool")

    def largest_inputs(self) -> openvino.Model:
        """`image` -> the largest input of each conv after the first: [blocks + 1]."""
        image = _image()
        self._enlarged(image, None)
        axes = _constant(np.arange(4))
        largest = [op.reshape(op.reduce_max(x, axes), _constant(np.array([1])), False) for x in self._inputs[1:]]
        return _model([op.concat(largest, 0)], [image], "tinysr_ranges")

    def rounded(self, gate: Gate) -> Gate:
        """A gate, rounded as in the graphs."""
        return gate if self.ranges is None else (np.rint(gate * GATE_STEPS) / GATE_STEPS).astype(np.float32)

    def _enlarged(self, image: openvino.Node, gate: openvino.Node | None) -> openvino.Node:
        config = self.checkpoint.config
        shallow, deep = self._features(image)
        if config.attention:
            gate = self._own_gate(deep) if gate is None else gate
            deep = op.multiply(deep, op.reshape(gate, _constant(np.array([1, config.channels, 1, 1])), False))
        detail = self._conv(op.add(shallow, deep), "tail")
        return op.depth_to_space(op.add(detail, _skip(image, config.scale)), "depth_first", config.scale)

    def _features(self, image: openvino.Node) -> tuple[openvino.Node, openvino.Node]:
        self._inputs.clear()
        shallow = op.relu(self._conv(image, "head"))
        layers = [f"trunk.{i}" for i in range(self.checkpoint.config.blocks)]
        return shallow, reduce(lambda x, layer: op.relu(self._conv(x, layer)), layers, shallow)

    def _own_gate(self, deep: openvino.Node) -> openvino.Node:
        weights = (self.checkpoint.tensors[f"attention.{name}.weight"] for name in ("squeeze", "excite"))
        squeeze, excite = (_constant(weight) for weight in weights)
        hidden = op.relu(op.matmul(squeeze, _mean(deep), False, False))
        gate = op.sigmoid(op.matmul(excite, hidden, False, False))
        if self.ranges is None:
            return gate
        steps = _constant(np.array(GATE_STEPS, np.float32))
        return op.divide(op.round(op.multiply(gate, steps), "half_to_even"), steps)

    def _conv(self, x: openvino.Node, layer: str) -> openvino.Node:
        weight, bias = (self.checkpoint.tensors[f"{layer}.{name}"] for name in ("weight", "bias"))
        number = len(self._inputs)
        self._inputs.append(x)
        kernel: openvino.Node = _constant(weight)
        if self.ranges is not None and number > 0:
            x = _quantised(x, np.zeros(1), np.array([self.ranges[number - 1]]), 256)
            largest = largest_weights(weight)
            rounded = (steps_of(weight) * (largest / STEPS)).astype(np.float32)
            kernel = _quantised(_constant(rounded), -largest, largest, 2 * STEPS + 1)
        border = [weight.shape[2] // 2] * 2
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
