from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinysr_core.cli.main import main
from tinysr_core.engines import onnx_export as export
from tinysr_core.engines.onnx_export import export_onnx, onnx_model
from tinysr_core.errors import RequestError
from tinysr_core.model.checkpoint import Checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install onnx")


def checkpoint(**config: Any) -> Checkpoint:
    torch.manual_seed(0)
    model = ModelConfig(**{"channels": 16, "blocks": 2, **config})
    tensors = {name: tensor.numpy() for name, tensor in TinySR(model).state_dict().items()}
    return Checkpoint(Path("random-x2.safetensors"), model, {"title": "Random", "license": "CC0-1.0"}, tensors, "")


@pytest.mark.parametrize("config", [{"scale": 2}, {"scale": 3}, {"scale": 4, "attention": False}])
def test_the_file_computes_what_torch_computes(config: dict[str, Any]) -> None:
    """Run by onnx's reference implementation, with batches and several sizes."""
    from onnx.reference import ReferenceEvaluator

    source = checkpoint(**config)
    network = TinySR(source.config)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in source.tensors.items()})
    reference = ReferenceEvaluator(onnx_model(source))
    for shape in ((1, 3, 1, 1), (2, 3, 9, 6)):
        image = np.random.default_rng(0).random(shape, np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).clamp(0, 1).numpy()
        (result,) = reference.run(None, {"image": image})
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_onnxruntime_agrees(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")
    difference = export_onnx(checkpoint(), tmp_path / "net.onnx")
    assert difference is not None and difference < 1e-5
    model = onnx.load(tmp_path / "net.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["title"], facts["license"], facts["scale"]) == ("Random", "CC0-1.0", "2")


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_text("old")
    monkeypatch.setattr(export, "find_spec", lambda name: True)
    for wrong in (0.01, float("nan")):
        monkeypatch.setattr(export, "_difference", lambda *_, wrong=wrong: wrong)
        with pytest.raises(RequestError, match="nothing is written"):
            export_onnx(checkpoint(), tmp_path / "net.onnx")
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
