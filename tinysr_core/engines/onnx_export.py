"""Export a checkpoint to ONNX, for other runtimes and for browsers. Needs the packages of the extra `export`."""

import json
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError, TinySRError, installs
from ..model import Checkpoint, skip_kernel
from ..util import atomic_write

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET, IR_VERSION = 17, 8
"""Those of ONNX 1.12 (2022), which all current runtimes support."""
CHECK_SIZES = ((8, 8), (31, 17), (64, 48), (120, 200))
"""Height and width of the pictures that the file is checked with."""
TOLERANCE = 1e-4
"""Largest difference of a pixel from torch's result; one level of 8 bits is forty times as much."""


def export_onnx(checkpoint: Checkpoint, path: Path) -> float | None:
    """Write `checkpoint` to `path` atomically, after comparing its results with torch on pictures of several sizes.

    Returns:
        The largest difference of a pixel; None if onnxruntime is missing and the file was not run.

    Raises:
        RequestError: onnx is missing, the suffix is not `.onnx`, or the results differ from those of torch.
        TinySRError: the file cannot be written.
    """
    if find_spec("onnx") is None:
        raise RequestError(f"Exporting needs the package onnx; {installs('export')} adds it.")
    if path.suffix != ".onnx":
        raise RequestError(f"{path} has not the suffix .onnx; write to {path.with_suffix('.onnx')}.")
    data = onnx_model(checkpoint).SerializeToString()
    difference = _difference(checkpoint, data) if find_spec("onnxruntime") else None
    if difference is not None and not difference <= TOLERANCE:
        raise RequestError(
            f"onnxruntime's result for {checkpoint.path.stem} differs from torch's by {difference:.2g}, so nothing is "
            "written. Try another version of onnxruntime."
        )
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise TinySRError(f"{path} cannot be written: {error.strerror}.") from error
    return difference


def onnx_model(checkpoint: Checkpoint) -> "ModelProto":
    """The network as ONNX: `image` [batch,3,height,width] float32 in [0,1] -> `result`, `scale` times as large.

    The file includes the clamp to [0,1]. The gate is computed from the whole input. Tiles of a picture would get
    different gates, so run the file on whole pictures.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    config, scale = checkpoint.config, checkpoint.config.scale
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def conv(layer: str, x: str) -> str:
        weight = checkpoint.tensors[f"{layer}.weight"]
        names = constant(f"{layer}.weight", weight), constant(f"{layer}.bias", checkpoint.tensors[f"{layer}.bias"])
        return node("Conv", x, *names, name=layer, pads=[weight.shape[2] // 2] * 4)

    def dense(layer: str, x: str) -> str:  # a linear layer on [batch,C,1,1]
        weight = checkpoint.tensors[f"attention.{layer}.weight"][:, :, None, None]
        return node("Conv", x, constant(f"attention.{layer}.weight", weight), name=f"attention.{layer}")

    shallow = deep = node("Relu", conv("head", "image"))
    for i in range(config.blocks):
        deep = node("Relu", conv(f"trunk.{i}", deep))
    if config.attention:
        hidden = node("Relu", dense("squeeze", node("GlobalAveragePool", deep)))
        deep = node("Mul", deep, node("Sigmoid", dense("excite", hidden)))
    detail = conv("tail", node("Add", shallow, deep))
    kernels = np.tile(skip_kernel(scale)[:, None], (3, 1, 1, 1)).astype(np.float32)
    bordered = node("Pad", "image", constant("border", np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64)), mode="edge")
    bicubic = node("Conv", bordered, constant("bicubic", kernels), name="skip", group=3)
    pixels = node("DepthToSpace", node("Add", bicubic, detail), mode="CRD", blocksize=scale)
    ends = constant("black", np.array(0, np.float32)), constant("white", np.array(1, np.float32))
    node("Clip", pixels, *ends, name="result")

    graph = helper.make_graph(
        nodes,
        checkpoint.path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 3, "result_height", "result_width"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tinysr")
    model.ir_version = IR_VERSION
    card = checkpoint.card
    metadata = {"config": json.dumps(asdict(config)), "scale": str(scale), "sha256": checkpoint.sha256}
    helper.set_model_props(model, metadata | {key: str(card[key]) for key in ("title", "license") if key in card})
    checker.check_model(model, full_check=True)
    return model


def _difference(checkpoint: Checkpoint, data: bytes) -> float:
    """The largest difference between onnxruntime and torch over pictures of `CHECK_SIZES`."""
    from .torch_engine import TorchEngine

    runtime: Any = import_module("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    engine = TorchEngine.from_checkpoint(checkpoint, "cpu", "fp32")
    random = np.random.default_rng(0)
    largest = 0.0
    for height, width in CHECK_SIZES:
        image = random.random((1, 3, height, width), np.float32)
        expected = engine.run(image, None).clip(0, 1)
        largest = max(largest, float(np.abs(session.run(None, {"image": image})[0] - expected).max()))
    return largest
