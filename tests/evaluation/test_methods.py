from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinysr_core.engines import RunOptions, load_upscaler
from tinysr_core.errors import CheckpointError, RequestError
from tinysr_core.evaluation import methods
from tinysr_core.evaluation.methods import network, spandrel_network
from tinysr_core.evaluation.table import to_8_bits, to_float
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.pipeline import enhance
from tinysr_core.postprocess import Finish

LR = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("model", "detail", "title", "finish"),
    [
        ("portrait", 1.0, "tinysr-portrait-x2", Finish()),
        ("portrait+sharpen", 1.0, "tinysr-portrait-x2+sharpen", Finish(sharpen=True)),
        ("portrait+aa+sharpen", 1.0, "tinysr-portrait-x2+sharpen+aa", Finish(sharpen=True, anti_alias=True)),
        ("portrait+aa", 0.5, "tinysr-portrait-x2+aa (detail 0.5)", Finish(anti_alias=True)),
    ],
)
def test_a_model_is_finished_and_blended_as_its_name_says(
    model: str, detail: float, title: str, finish: Finish
) -> None:
    name, run = network(model, 2, RunOptions(detail, 0))
    upscaler = load_upscaler(find_checkpoint("portrait", 2), detail=detail, clean=0)
    assert name == title
    np.testing.assert_array_equal(run(LR), to_8_bits(enhance(upscaler, to_float(LR), finish=finish)[0]))


def test_less_than_full_precision_is_named() -> None:
    name, _ = network("portrait", 2, RunOptions(0.5, 0, device="cpu", engine="torch", precision="bf16"))
    assert name == "tinysr-portrait-x2 (detail 0.5, bf16)"


@pytest.mark.parametrize("model", ["nobody+sharpen", "portrait+blur", "+sharpen"])
def test_unknown_models_and_finishes_are_told(model: str) -> None:
    with pytest.raises(CheckpointError, match=r"There is no model"):
        network(model, 2)


def test_without_spandrel_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="needs the package spandrel; `pip install spandrel` adds it"):
        spandrel_network(Path("net.pth"), 2)


class Run:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def compact(tmp_path: Path) -> tuple[Path, Any]:
    """A network of another architecture, and spandrel's description of it."""
    try:
        import spandrel
    except Exception as error:
        pytest.skip(f"needs spandrel, and a torchvision that fits this torch: {error}")
    torch.manual_seed(0)
    shapes = {"body.0": (8, 3, 3, 3), "body.2": (8, 8, 3, 3), "body.4": (12, 8, 3, 3)}
    state = {f"{name}.weight": torch.randn(shape) / 10 for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    state |= {f"body.{i}.weight": torch.full((8,), 0.25) for i in (1, 3)}
    torch.save({"params": state}, tmp_path / "compact.pth")
    return tmp_path / "compact.pth", spandrel.ModelLoader("cpu").load_from_state_dict(state)


def test_another_network_is_run_as_spandrel_runs_it(compact: tuple[Path, Any]) -> None:
    path, descriptor = compact
    name, run = spandrel_network(path, 2)
    assert name == "compact"
    with torch.no_grad():
        expected = to_8_bits(descriptor(torch.from_numpy(to_float(LR))).numpy())
    np.testing.assert_array_equal(run(LR), expected)
    assert run(LR).shape == (24, 20, 3)


def test_networks_that_cannot_be_measured_are_errors(compact: tuple[Path, Any], tmp_path: Path) -> None:
    path, _ = compact
    with pytest.raises(RequestError, match="enlarges 2 times, not 4"):
        spandrel_network(path, 4)
    with pytest.raises(CheckpointError, match=r"nowhere\.pth cannot be read: No such file"):
        spandrel_network(tmp_path / "nowhere.pth", 2)
    torch.save({"odd": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="spandrel does not support"):
        spandrel_network(tmp_path / "odd.pth", 2)
    (tmp_path / "torn.pth").write_bytes(path.read_bytes()[:500])
    torch.save({"params": Run(tmp_path / "has-run")}, tmp_path / "evil.pth")
    for name in ("torn", "evil"):
        with pytest.raises(CheckpointError, match="is damaged, or holds more than plain weights"):
            spandrel_network(tmp_path / f"{name}.pth", 2)
    assert not (tmp_path / "has-run").exists()
