from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinysr_core.cli.main import main
from tinysr_core.engines import onnx_export as export
from tinysr_core.engines.int8 import calibration_pictures, psnr
from tinysr_core.engines.onnx_export import OnnxPrecision, export_onnx, onnx_model
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.errors import RequestError
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install onnx")


def checkpoint(**config: Any) -> Checkpoint:
    torch.manual_seed(0)
    model = ModelConfig(**{"channels": 16, "blocks": 2, **config})
    tensors = {name: tensor.numpy() for name, tensor in TinySR(model).state_dict().items()}
    return Checkpoint(Path("random-x2.safetensors"), model, {"title": "Random", "license": "CC0-1.0"}, tensors, "")


def upscaled(source: Checkpoint, image: np.ndarray) -> np.ndarray:
    """What TinySR's own programs compute."""
    return Upscaler(TorchEngine.from_checkpoint(source, "cpu", "fp32")).upscale(image)


@pytest.mark.parametrize("config", [{"scale": 2}, {"scale": 3}, {"scale": 4, "attention": False}])
def test_the_file_computes_what_tinysr_computes(config: dict[str, Any]) -> None:
    """Run by onnx's reference implementation, with batches and several sizes, also smaller than the border."""
    from onnx.reference import ReferenceEvaluator

    source = checkpoint(**config)
    reference = ReferenceEvaluator(onnx_model(source))
    for shape in ((1, 3, 1, 1), (2, 3, 9, 4)):
        image = np.random.default_rng(0).random(shape, np.float32)
        (result,) = reference.run(None, {"image": image})
        np.testing.assert_allclose(result, upscaled(source, image), atol=1e-5)


@pytest.mark.parametrize(("precision", "least"), [("fp16", 75.0), ("int8", 50.0)])
def test_other_precisions_are_close(precision: OnnxPrecision, least: float) -> None:
    """The reference implementation rounds in fp16 after each operator, like hardware."""
    from onnx.reference import ReferenceEvaluator

    source = checkpoint()
    image = np.ascontiguousarray(calibration_pictures()[1][:, :, 40:60, 60:90])
    model = onnx_model(source, precision)
    model.opset_import[0].version = 21  # the reference has no older DequantizeLinear; no operator of ours has changed
    (result,) = ReferenceEvaluator(model).run(None, {"image": image})
    assert result.dtype == np.float32
    assert least < psnr(result, upscaled(source, image)) < 100


def test_int8_of_a_layer_that_is_always_zero() -> None:
    """A step of 0 would divide by 0, which runtimes answer in different ways."""
    source = checkpoint()
    source.tensors["trunk.0.bias"][:] = -1000.0
    assert min(export.largest_features(source)) > 0


@pytest.mark.parametrize(
    ("precision", "types"),
    [
        ("fp32", {"FLOAT", "INT64"}),
        ("fp16", {"FLOAT", "FLOAT16", "INT64"}),
        ("int8", {"FLOAT", "INT8", "UINT8", "INT32", "INT64"}),
    ],
)
def test_weights_have_the_type_of_the_precision(precision: OnnxPrecision, types: set[str]) -> None:
    model = onnx_model(checkpoint(), precision)
    names = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}
    assert set(names.values()) == types
    assert names["trunk.1.weight"] == {"fp32": "FLOAT", "fp16": "FLOAT16", "int8": "INT8"}[precision]
    assert names["head.weight"] == ("FLOAT16" if precision == "fp16" else "FLOAT")
    sides = (model.graph.input[0], model.graph.output[0])
    assert [side.type.tensor_type.elem_type for side in sides] == [onnx.TensorProto.FLOAT] * 2
    batch, channels, height, width = (dimension.dim_param for dimension in sides[0].type.tensor_type.shape.dim)
    assert (batch, channels, height, width) == ("batch", "", "height", "width")


def test_onnxruntime_agrees(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    closeness = export_onnx(checkpoint(), tmp_path / "net.onnx")
    assert closeness is not None and closeness > 110
    model = onnx.load(tmp_path / "net.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["title"], facts["license"], facts["scale"]) == ("Random", "CC0-1.0", "2")


def test_onnxruntime_computes_the_trunk_in_integers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It fuses a conv with the rounding around it only if all of its inputs are written as it expects."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    path = tmp_path / "portrait.onnx"
    assert main(["export", "portrait", "--onnx", str(path), "--int8"]) == 0
    assert "int8" in capsys.readouterr().err
    settings = runtime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == read_checkpoint(find_checkpoint("portrait", 2)).config.blocks
    assert kinds.count("QuantizeLinear") == 1


def test_with_a_fixed_size_only_common_operators_are_left(tmp_path: Path) -> None:
    """NNAPI and CoreML run these; the border's arithmetic on sizes becomes constant."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    model = onnx_model(checkpoint())
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 20, 30), strict=True):
        dimension.dim_value = size
    settings = runtime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    runtime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    kinds = {"Gather", "Conv", "Relu", "GlobalAveragePool", "Sigmoid", "Mul", "Add", "Slice", "DepthToSpace", "Clip"}
    assert {node.op_type for node in nodes} == kinds
    (shuffle,) = (node for node in nodes if node.op_type == "DepthToSpace")
    assert [value.s for value in shuffle.attribute if value.name == "mode"] == [b"DCR"]


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_text("old")
    monkeypatch.setattr(export, "find_spec", lambda name: True)
    for wrong in (58.0, float("nan")):
        monkeypatch.setattr(export, "_closeness", lambda *_, wrong=wrong: wrong)
        for precision in ("fp32", "fp16", "int8"):
            with pytest.raises(RequestError, match=f"{precision}.*nothing is written"):
                export_onnx(checkpoint(), tmp_path / "net.onnx", precision)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("net.onnx", "old")]


def test_without_onnxruntime_it_is_written_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: name != "onnxruntime" or None)
    path = tmp_path / "net.onnx"
    assert main(["export", "portrait", "--onnx", str(path)]) == 0
    assert "onnxruntime is not installed" in capsys.readouterr().err
    onnx.checker.check_model(str(path))


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nobody", "--onnx", "a.onnx"], 1, "There is no model 'nobody'"),
        (["portrait", "--scale", "5", "--onnx", "a.onnx"], 2, "enlarges 4 times, not 5"),
        (["portrait", "--onnx", "a.pt"], 2, "write to a.onnx"),
        (["portrait", "--onnx", "no/such/folder/a.onnx"], 1, "cannot be written: No such file or directory"),
        (["portrait", "--detail", "7", "--onnx", "a.onnx"], 2, "between 0 and 1"),
        (["portrait"], 2, "--onnx FILE.onnx or --ncnn FILE.param"),
        (["portrait", "--onnx", "a.onnx", "--fp16", "--int8"], 2, "choose one"),
        (["portrait", "--ncnn", "a-x2.param", "--int8"], 2, "add --onnx"),
        (["portrait", "--ncnn", "a-x2.bin"], 2, "write to a-x2.param"),
        (["portrait", "--ncnn", "a-x4.param"], 2, "does not say ×2"),
        (["portrait", "--ncnn", "no/such/folder/a-x2.param"], 1, "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_told(
    arguments: list[str],
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == status
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_onnx_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r'needs the package onnx; `pip install "\.\[export\]"`'):
        export_onnx(checkpoint(), tmp_path / "net.onnx")
