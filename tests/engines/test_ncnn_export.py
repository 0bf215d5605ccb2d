"""ncnn files, run by a small interpreter of their format, and by ncnn itself where it is installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinysr_core.cli.main import main
from tinysr_core.engines import ncnn_export as export
from tinysr_core.engines.int8 import calibration_pictures, psnr
from tinysr_core.engines.ncnn_export import (
    export_ncnn,
    named_scale,
    ncnn_model,
    run_ncnn,
    typical_gate,
    with_fixed_gate,
)
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.errors import RequestError
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint
from tinysr_core.model.config import ModelConfig

from .networks import random_checkpoint


def checkpoint(scale: int = 2, attention: bool = True) -> Checkpoint:
    return random_checkpoint(ModelConfig(scale=scale, channels=16, blocks=2, attention=attention))


def with_gate(source: Checkpoint, image: np.ndarray) -> np.ndarray:
    """The network with its typical gate, in PyTorch."""
    gate = torch.from_numpy(typical_gate(source))[None] if source.config.attention else None
    return TorchEngine.from_checkpoint(source, "cpu", "fp32").run(image, gate).clip(0, 1)


def interpreted(param: str, weights: bytes, image: np.ndarray) -> np.ndarray:
    """Run the files as ncnn's documentation describes them."""
    magic, counts, *lines = param.splitlines()
    assert magic == "7767517"
    assert counts == f"{len(lines)} {sum(int(line.split()[3]) for line in lines)}"
    rest = memoryview(weights)

    def numbers(count: int) -> Tensor:
        nonlocal rest
        taken, rest = rest[: 4 * count], rest[4 * count :]
        return torch.frombuffer(bytearray(taken), dtype=torch.float32)

    blobs: dict[str, Tensor] = {"data": torch.from_numpy(image)}
    for line in lines:
        kind, _, inputs, outputs, *names = line.split()
        sources, names = names[: int(inputs)], names[int(inputs) :]
        targets, values = names[: int(outputs)], dict(value.split("=") for value in names[int(outputs) :])
        x = [blobs.pop(name) for name in sources]  # ncnn needs a Split for each blob that is used twice
        if kind == "Input":
            assert targets == ["data"]
            continue
        if kind == "Split":
            results = x * len(targets)
        elif kind == "Convolution":
            channels, side, size = (int(values[key]) for key in "016")
            assert numbers(1).view(torch.int32).item() == 0
            weight, bias = numbers(size).view(channels, -1, side, side), numbers(channels)
            y = F.conv2d(x[0], weight, bias, padding=int(values["4"]))
            results = [y.relu() if values["9"] == "1" else y]
        elif kind == "BinaryOp":
            assert values == {"0": "0"}
            results = [x[0] + x[1]]
        elif kind == "PixelShuffle":
            results = [F.pixel_shuffle(x[0], int(values["0"]))]
        elif kind == "Interp":
            assert values["0"] == "3" and "." in values["1"]
            results = [F.interpolate(x[0], scale_factor=float(values["1"]), mode="bicubic")]
        else:
            assert (kind, values) == ("Clip", {"0": "0.0", "1": "1.0"})
            results = [x[0].clamp(0, 1)]
        blobs |= zip(targets, results, strict=True)
    assert not rest
    assert list(blobs) == ["output"]
    return blobs["output"].numpy()


@pytest.mark.parametrize(("scale", "attention"), [(2, True), (3, True), (4, False)])
def test_the_files_compute_the_network_with_a_fixed_gate(scale: int, attention: bool) -> None:
    source = checkpoint(scale, attention)
    image = np.random.default_rng(0).random((1, 3, 20, 31), np.float32)
    result = interpreted(*ncnn_model(with_fixed_gate(source)), image)
    np.testing.assert_allclose(result, with_gate(source, image), atol=1e-4)


def test_the_fixed_gate_is_close_to_that_of_a_picture() -> None:
    source = read_checkpoint(find_checkpoint("portrait", 2))
    image = np.ascontiguousarray(calibration_pictures()[0][:, :, 100:250, 100:250])
    own = TorchEngine.from_checkpoint(source, "cpu", "fp32").run(image, None).clip(0, 1)
    assert 50 < psnr(with_gate(source, image), own) < 100


@pytest.mark.skipif(find_spec("ncnn") is None, reason="needs ncnn: pip install ncnn")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ncnn_agrees(scale: int, tmp_path: Path) -> None:
    source = read_checkpoint(find_checkpoint("portrait", scale))
    path = tmp_path / f"portrait-x{scale}.param"
    closeness = export_ncnn(source, path)
    assert closeness is not None and closeness > 100
    image = np.random.default_rng(0).random((1, 3, 33, 47), np.float32)
    np.testing.assert_allclose(run_ncnn(path, path.with_suffix(".bin"), image), with_gate(source, image), atol=1e-4)


def test_the_command_writes_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    path = tmp_path / "models" / "portrait-x2.param"
    path.parent.mkdir()
    assert main(["export", "portrait", "--ncnn", str(path)]) == 0
    assert "ncnn is not installed" in capsys.readouterr().err
    assert sorted(file.name for file in path.parent.iterdir()) == ["portrait-x2.bin", "portrait-x2.param"]
    image = calibration_pictures()[1]
    result = interpreted(path.read_text(), path.with_suffix(".bin").read_bytes(), image)
    np.testing.assert_allclose(result, with_gate(read_checkpoint(find_checkpoint("portrait", 2)), image), atol=1e-4)


def test_files_that_compute_something_else_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net-x2.bin").write_text("old")
    monkeypatch.setattr(export, "find_spec", lambda name: True)
    for wrong in (60.0, float("nan")):
        monkeypatch.setattr(export, "_closeness", lambda *_, wrong=wrong: wrong)
        with pytest.raises(RequestError, match="nothing is written"):
            export_ncnn(checkpoint(), tmp_path / "net-x2.param")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("net-x2.bin", "old")]


@pytest.mark.parametrize(
    ("name", "scale"),
    [("tinysr-portrait-64-x2", 2), ("4xPortrait", 4), ("portrait-x3", 3), ("max1-x2", 1), ("us", None)],
)
def test_upscayl_reads_the_scale_from_the_name(name: str, scale: int | None) -> None:
    assert named_scale(name) == scale
