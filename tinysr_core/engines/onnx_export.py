"""Export a checkpoint to ONNX, for other runtimes and for browsers. Needs the packages of the extra `export`."""

import json
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError, TinySRError, installs
from ..model import Checkpoint, skip_kernel
from ..util import atomic_write
from .engine import BORDER
from .int8 import MARGIN, STEPS, calibration_pictures, close_enough, largest_weights, psnr, steps_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OnnxPrecision = Literal["fp32", "fp16", "int8"]

OPSET, IR_VERSION = 17, 8
"""Those of ONNX 1.12 (2022), which all current runtimes support."""
CHECK_SIZES = ((1, 1), (5, 9), (31, 17), (64, 48))
"""Height and width of the crops of the calibration portrait that the file is checked with, besides the portrait."""
CLOSE_FP32, CLOSE_FP16 = 100.0, 70.0
"""Smallest PSNR in dB between the results of the file and those of PyTorch in fp32: a mean error of 0.003 levels of 8
bits, and of 0.08 levels. For int8, see `close_enough`."""
LEVELS = 255
"""Largest value of a quantised feature."""
BICUBIC_REACH = 2


def export_onnx(checkpoint: Checkpoint, path: Path, precision: OnnxPrecision = "fp32") -> float | None:
    """Write `checkpoint` to `path` atomically, after comparing its results with PyTorch on pictures of several sizes.

    Returns:
        The PSNR in dB between the two results; None if onnxruntime is missing and the file was not run.

    Raises:
        RequestError: onnx is missing, the suffix is not `.onnx`, or the results differ from those of PyTorch.
        TinySRError: the file cannot be written.
    """
    if find_spec("onnx") is None:
        raise RequestError(f"Exporting needs the package onnx; {installs('export')} adds it.")
    if path.suffix != ".onnx":
        raise RequestError(f"{path} has not the suffix .onnx; write to {path.with_suffix('.onnx')}.")
    data = onnx_model(checkpoint, precision).SerializeToString()
    closeness = _closeness(checkpoint, data) if find_spec("onnxruntime") else None
    least = required_closeness(precision, checkpoint.config.scale)
    if closeness is not None and not closeness >= least:
        remedy = "Try another version of onnxruntime." if precision == "fp32" else "Export another precision."
        raise RequestError(
            f"The {precision} results for {checkpoint.path.stem} have a PSNR of only {closeness:.1f} dB to PyTorch's "
            f"({least:g} are required), so nothing is written. {remedy}"
        )
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise TinySRError(f"{path} cannot be written: {error.strerror}.") from error
    return closeness


def required_closeness(precision: OnnxPrecision, scale: int) -> float:
    """The PSNR in dB to PyTorch's result that a file of this precision must have."""
    return {"fp32": CLOSE_FP32, "fp16": CLOSE_FP16, "int8": close_enough(scale)}[precision]


def onnx_model(checkpoint: Checkpoint, precision: OnnxPrecision = "fp32") -> "ModelProto":
    """The network as ONNX: `image` [batch,3,height,width] float32 in [0,1] -> `result`, `scale` times as large.

    The file includes the mirrored border and the clamp to [0,1]. The gate is computed from the whole input. Tiles of a
    picture would get different gates, so run the file on whole pictures.

    Args:
        checkpoint: the network.
        precision: in fp16, the convs have half precision. In int8, the inputs and weights of the trunk's convs are
            8-bit integers, written as QuantizeLinear and DequantizeLinear. The picture, the bicubic skip, the gate's
            mean and the final sum stay in float32; so do the first and the last conv in int8.
    """
    from onnx import TensorProto, checker, helper

    config, scale = checkpoint.config, checkpoint.config.scale
    half = precision == "fp16"
    graph = _Graph(_phases_first(checkpoint), np.float16 if half else np.float32)

    def wide(x: str) -> str:
        return graph.node("Cast", x, to=TensorProto.FLOAT) if half else x

    def narrow(x: str) -> str:
        return graph.node("Cast", x, to=TensorProto.FLOAT16) if half else x

    image = graph.mirrored("image")
    shallow = deep = graph.node("Relu", graph.conv("head", narrow(image)))
    if precision == "int8":
        deep = graph.int8_trunk(shallow)
    else:
        for i in range(config.blocks):
            deep = graph.node("Relu", graph.conv(f"trunk.{i}", deep))
    if config.attention:
        deep = graph.node("Mul", deep, narrow(graph.gate(graph.node("GlobalAveragePool", wide(deep)))))
    detail = graph.cropped(wide(graph.conv("tail", graph.node("Add", shallow, deep))), BORDER)
    pixels = graph.node("DepthToSpace", graph.node("Add", graph.bicubic(image), detail), mode="DCR", blocksize=scale)
    ends = graph.constant("black", np.float32(0)), graph.constant("white", np.float32(1))
    graph.node("Clip", pixels, *ends, name="result")

    proto = helper.make_graph(
        graph.nodes,
        checkpoint.path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 3, "result_height", "result_width"])],
        list(graph.constants.values()),
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tinysr")
    model.ir_version = IR_VERSION
    card = checkpoint.card
    metadata = {"config": json.dumps(asdict(config)), "scale": str(scale), "sha256": checkpoint.sha256}
    metadata |= {"precision": precision} | {key: str(card[key]) for key in ("title", "license") if key in card}
    helper.set_model_props(model, metadata)
    checker.check_model(model, full_check=True)
    return model


@dataclass
class _Graph:
    """The graph that is being built. Methods add nodes, and take and return the names of tensors."""

    checkpoint: Checkpoint
    dtype: type[np.float16 | np.float32]
    """Type of the convs."""
    nodes: "list[NodeProto]" = field(default_factory=list["NodeProto"], init=False)
    constants: "dict[str, TensorProto]" = field(default_factory=dict[str, "TensorProto"], init=False)

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        return name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def conv(self, layer: str, x: str) -> str:
        weight, bias = self._tensors(layer)
        names = (
            self.constant(f"{layer}.{name}", v.astype(self.dtype)) for name, v in (("weight", weight), ("bias", bias))
        )
        return self.node("Conv", x, *names, name=layer, pads=[weight.shape[2] // 2] * 4)

    def int8_trunk(self, x: str) -> str:
        """The trunk in 8-bit integers: features are unsigned, with one scale per layer, and weights have one scale per
        output channel."""
        scales = [MARGIN * largest / LEVELS for largest in largest_features(self.checkpoint)]
        x = self._rounded(x, scales[0])
        for i in range(self.checkpoint.config.blocks):
            layer = f"trunk.{i}"
            weight, bias = self._tensors(layer)
            weight_scales = (largest_weights(weight).reshape(-1) / STEPS).astype(np.float32)
            bias_scales = (weight_scales * scales[i]).astype(np.float32)
            kernel = self._dequantised(f"{layer}.weight", steps_of(weight).astype(np.int8), weight_scales)
            whole = np.rint(bias / bias_scales).clip(-(2**31), 2**31 - 1).astype(np.int32)
            offset = self._dequantised(f"{layer}.bias", whole, bias_scales)
            x = self.node("Relu", self.node("Conv", x, kernel, offset, name=layer, pads=[1] * 4))
            x = self._rounded(x, scales[i + 1])
        return x

    def gate(self, pooled: str) -> str:
        squeeze, excite = (
            self.constant(name, self.checkpoint.tensors[name][:, :, None, None])
            for name in ("attention.squeeze.weight", "attention.excite.weight")
        )
        return self.node("Sigmoid", self.node("Conv", self.node("Relu", self.node("Conv", pooled, squeeze)), excite))

    def bicubic(self, image: str) -> str:
        """The bicubic enlargement of the mirrored `image` without its border, before the pixel shuffle."""
        scale = self.checkpoint.config.scale
        kernels = np.zeros((scale**2, 3, 3, 5, 5), np.float32)
        for colour in range(3):
            kernels[:, colour, colour] = skip_kernel(scale)
        inner = self.cropped(image, BORDER - BICUBIC_REACH)
        return self.node("Conv", inner, self.constant("bicubic", kernels.reshape(-1, 3, 5, 5)), name="skip")

    def mirrored(self, image: str) -> str:
        """`image` with `BORDER` mirrored pixels on every side, as `crop_mirrored` adds them. ONNX's `Pad` repeats the
        edge or leaves it out, and cannot mirror pictures smaller than the border."""
        for axis in (2, 3):
            length = self.node("Squeeze", self.node("Shape", image, start=axis, end=axis + 1))
            start, stop = self._integer(-BORDER), self.node("Add", length, self._integer(BORDER))
            period = self.node("Mul", length, self._integer(2))
            there = self.node("Mod", self.node("Range", start, stop, self._integer(1)), period)
            back = self.node("Sub", self.node("Sub", period, self._integer(1)), there)
            image = self.node("Gather", image, self.node("Min", there, back), axis=axis)
        return image

    def cropped(self, x: str, border: int) -> str:
        starts, stops, axes = (np.array([v, w], np.int64) for v, w in ((border,) * 2, (-border,) * 2, (2, 3)))
        names = self.constant(f"start_{border}", starts), self.constant(f"stop_{border}", stops)
        return self.node("Slice", x, *names, self.constant("axes", axes))

    def _tensors(self, layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tensors = self.checkpoint.tensors
        return tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]

    def _integer(self, value: int) -> str:
        return self.constant(f"integer_{value}", np.int64(value))

    def _rounded(self, x: str, scale: float) -> str:
        parameters = self.constant(f"{x}.scale", np.float32(scale)), self.constant("zero", np.uint8(0))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def _dequantised(self, name: str, values: NDArray[Any], scales: NDArray[np.float32]) -> str:
        zeros = self.constant(f"{name}.zeros", np.zeros(len(scales), values.dtype))
        return self.node(
            "DequantizeLinear", self.constant(name, values), self.constant(f"{name}.scale", scales), zeros, axis=0
        )


def _phases_first(checkpoint: Checkpoint) -> Checkpoint:
    """The network with the outputs of its tail ordered by phase, then by colour. NNAPI and CoreML know only this mode
    of DepthToSpace; PyTorch's pixel shuffle has the other one."""
    order = np.arange(3 * checkpoint.config.scale**2).reshape(3, -1).T.ravel()
    tail = {name: checkpoint.tensors[name][order] for name in ("tail.weight", "tail.bias")}
    return replace(checkpoint, tensors={**checkpoint.tensors, **tail})


def largest_features(checkpoint: Checkpoint) -> list[float]:
    """The largest value after each ReLU, of the head and of the trunk, in the calibration pictures."""
    import torch
    from torch.nn.functional import conv2d

    largest = np.full(checkpoint.config.blocks + 1, 1e-6)
    layers = ["head", *(f"trunk.{i}" for i in range(checkpoint.config.blocks))]
    for picture in calibration_pictures():
        x = torch.from_numpy(picture)
        for i, layer in enumerate(layers):
            weight, bias = (torch.from_numpy(checkpoint.tensors[f"{layer}.{name}"]) for name in ("weight", "bias"))
            x = conv2d(x, weight, bias, padding=weight.shape[2] // 2).relu_()
            largest[i] = max(largest[i], float(x.max()))
    return [float(value) for value in largest]


def _closeness(checkpoint: Checkpoint, data: bytes) -> float:
    """PSNR between the results of onnxruntime and of PyTorch, over the pixels of all check pictures."""
    from .torch_engine import TorchEngine
    from .upscaler import Upscaler

    runtime: Any = import_module("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    upscaler = Upscaler(TorchEngine.from_checkpoint(checkpoint, "cpu", "fp32"))
    portrait = calibration_pictures()[1]
    pictures = [portrait, *(np.ascontiguousarray(portrait[:, :, -height:, -width:]) for height, width in CHECK_SIZES)]
    results = [session.run(None, {"image": picture})[0].ravel() for picture in pictures]
    expected = [upscaler.upscale(picture).ravel() for picture in pictures]
    return psnr(np.concatenate(results), np.concatenate(expected))
