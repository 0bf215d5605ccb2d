import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as our programs do; see tinysr_core/threads.py

import pytest
import torch
from hypothesis import settings

from tinysr_core.engines import options

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
