import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does; see tinysr_core/util/threads.py

import pytest
import torch
from hypothesis import settings
from safetensors.torch import save_file
from torch import Tensor, nn

from tinysr_core.engines import options
from tinysr_core.util import files

settings.register_profile("no deadline: machines differ", deadline=None)
settings.load_profile("no deadline: machines differ")

SHARED = Path(__file__).parents[2] / "shared"
"""Published photographs and the trained VGG19, AlexNet and SqueezeNet, which are not part of the project."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Test networks are too small for several threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines save calibrations in a folder of the tests, not in the home folder of the user."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `SHARED`, for tests that compare with published figures. They are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"compares with published figures, and needs the published data in {SHARED}")
    return SHARED


class Fire(nn.Module):
    """SqueezeNet's building block, with the names that torchvision gives its layers."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


@pytest.fixture(scope="session")
def references() -> dict[str, nn.Sequential]:
    """VGG19 up to relu3_2, AlexNet and SqueezeNet 1.1, layer by layer as in torchvision, with random weights."""

    def conv(inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, side, stride, padding), nn.ReLU()]

    def halve() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        vgg = [*conv(3, 64, 3, 1, 1), *conv(64, 64, 3, 1, 1), nn.MaxPool2d(2)]
        vgg += [*conv(64, 128, 3, 1, 1), *conv(128, 128, 3, 1, 1), nn.MaxPool2d(2)]
        vgg += [*conv(128, 256, 3, 1, 1), *conv(256, 256, 3, 1, 1)]
        alex = [*conv(3, 64, 11, 4, 2), nn.MaxPool2d(3, 2), *conv(64, 192, 5, 1, 2), nn.MaxPool2d(3, 2)]
        alex += [*conv(192, 384, 3, 1, 1), *conv(384, 256, 3, 1, 1), *conv(256, 256, 3, 1, 1)]
        squeeze = [*conv(3, 64, 3, 2), halve(), Fire(64, 16, 64), Fire(128, 16, 64)]
        squeeze += [halve(), Fire(128, 32, 128), Fire(256, 32, 128), halve(), Fire(256, 48, 192), Fire(384, 48, 192)]
        squeeze += [Fire(384, 64, 256), Fire(512, 64, 256)]
        networks = {"vgg19": nn.Sequential(*vgg), "alex": nn.Sequential(*alex), "squeeze": nn.Sequential(*squeeze)}
        for layer in (layer for network in networks.values() for layer in network.modules()):
            if isinstance(layer, nn.Conv2d):  # by default, deep features would hardly depend on the picture
                nn.init.kaiming_normal_(layer.weight)
                nn.init.normal_(layer.bias, std=0.1)
    return {name: network.requires_grad_(False) for name, network in networks.items()}


@pytest.fixture(scope="session")
def backbones(references: dict[str, nn.Sequential], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `references` as the files that the loss and the metrics read. The heads of LPIPS are random too."""
    folder = tmp_path_factory.mktemp("backbones")
    files = {"vgg19": "vgg19_features", "alex": "lpips_alex", "squeeze": "lpips_squeeze"}
    channels = {"vgg19": (), "alex": (64, 192, 384, 256, 256), "squeeze": (64, 128, 256, 384, 384, 512, 512)}
    random = torch.Generator().manual_seed(0)
    for name, network in references.items():
        tensors = {f"features.{layer}": tensor for layer, tensor in network.state_dict().items()}
        for i, count in enumerate(channels[name]):
            tensors[f"lin{i}.weight"] = torch.rand(1, count, 1, 1, generator=random)
        save_file(tensors, folder / f"{files[name]}.safetensors")
    return folder


@pytest.fixture
def windows_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imitates Windows on Linux: a file that any process has open or mapped can be neither renamed nor deleted."""
    if sys.platform != "linux":
        pytest.skip("imitates Windows with /proc")
    monkeypatch.setattr(files, "OPEN_FILES_CAN_MOVE", False)
    for name in ("unlink", "remove", "rename", "replace"):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name)))
    for name in ("unlink", "rename", "replace"):  # pathlib of Python 3.10 has its own references to os's functions
        monkeypatch.setattr(Path, name, _refusing(getattr(Path, name)))


def _refusing(function: Any) -> Any:
    def refusing(*paths: Any, **options: Any) -> Any:
        for path in paths:
            if isinstance(path, str | os.PathLike) and _is_open(Path(path)):
                raise PermissionError(13, "The process cannot access the file because it is in use", str(path))
        return function(*paths, **options)

    return refusing


def _is_open(path: Path) -> bool:
    path = path.resolve()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended, or belongs to another user
            if f" {path}\n" in (process / "maps").read_text():
                return True
            if any(handle.readlink() == path for handle in (process / "fd").iterdir()):
                return True
    return False
