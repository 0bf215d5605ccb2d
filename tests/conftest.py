from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("no deadline: machines differ", deadline=None)
settings.load_profile("no deadline: machines differ")

SHARED = Path(__file__).parents[2] / "shared"
"""Photographs and backbones that are not part of the project."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Test networks are so small that more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the validation photographs; tests that use it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the validation photographs in {SHARED}")
    return SHARED
