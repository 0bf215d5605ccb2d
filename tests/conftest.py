import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as our programs do; see tinysr_core/util/threads.py

import pytest
import torch
from hypothesis import settings

from tinysr_core.engines import options
from tinysr_core.util import files

settings.register_profile("no deadline: machines differ", deadline=None)
settings.load_profile("no deadline: machines differ")

SHARED = Path(__file__).parents[2] / "shared"
"""Photographs and backbones that are not part of the project."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Test networks are so small that more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What engines keep goes into a folder of the tests, not into the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the validation photographs; tests that use it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the validation photographs in {SHARED}")
    return SHARED


@pytest.fixture
def windows_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows's rule, imitated on Linux: what is open or mapped, in any process, is neither renamed nor deleted."""
    if sys.platform != "linux":
        pytest.skip("imitates Windows with /proc")
    monkeypatch.setattr(files, "OPEN_FILES_CAN_MOVE", False)
    for name in ("unlink", "remove", "rename", "replace"):
        monkeypatch.setattr(os, name, _refusing(getattr(os, name)))
    for name in ("unlink", "rename", "replace"):  # Python 3.10 keeps os's functions from when pathlib was imported
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
        with suppress(OSError):  # it has ended, or belongs to somebody else
            if f" {path}\n" in (process / "maps").read_text():
                return True
            if any(handle.readlink() == path for handle in (process / "fd").iterdir()):
                return True
    return False
