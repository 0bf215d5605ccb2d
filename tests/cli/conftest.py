from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.cli.main import main
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig

WritePhoto = Callable[..., Path]


def write_network(path: Path) -> Path:
    """A small network with random weights."""
    config = ModelConfig(2, channels=16, blocks=2)
    random = np.random.default_rng(0)
    tensors = {name: (random.standard_normal(shape) * 0.05).astype(np.float32) for name, shape in config.shapes.items()}
    write_checkpoint(path, config, tensors, {"title": "A test"})
    return path


def photo(path: Path, width: int = 40, height: int = 30) -> Path:
    """A JPEG file with a ramp of colours; `path` may have any suffix."""
    path.parent.mkdir(exist_ok=True)
    ramp = np.linspace(0, 255, height * width * 3).astype(np.uint8).reshape(height, width, 3)
    Image.fromarray(ramp).save(path, format="JPEG")
    return path


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the configuration of the user from the tests."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setattr(Path, "home", lambda: home)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "net-x2.safetensors")


@pytest.fixture
def upscale(network: Path) -> Callable[..., int]:
    return lambda *arguments: main(["upscale", "--model", str(network), *map(str, arguments)])


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must fail with one sentence, and change no file below `tmp_path`; returns the sentence."""

    def check(command: Callable[[], int], status: int = 1) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert command() == status
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("tinysr: ") and err.endswith(".\n") and err.count("\n") == 1, err
        assert "unexpected" not in err
        assert contents(tmp_path) == before
        return err

    return check


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
