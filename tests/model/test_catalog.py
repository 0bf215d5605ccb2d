from pathlib import Path

import numpy as np
import pytest

from tinysr_core.errors import CheckpointError
from tinysr_core.model import catalog
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig


def write(folder: Path, name: str, scale: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = ModelConfig(scale=scale, channels=16, blocks=1)
    path = folder / f"{name}.safetensors"
    write_checkpoint(path, config, {n: np.zeros(s, np.float32) for n, s in config.shapes.items()}, {})
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The shipped and the user's folder."""
    shipped, user = tmp_path / "shipped", tmp_path / "user"
    monkeypatch.setattr(catalog, "shipped_folder", lambda: shipped)
    monkeypatch.setattr(catalog, "user_folder", lambda: user)
    for scale in (2, 3, 4):
        write(shipped, f"tinysr-portrait-x{scale}", scale)
    return shipped, user


@pytest.mark.parametrize(("factor", "scale"), [(1, 2), (1.5, 2), (2, 2), (2.01, 3), (3.7, 4), (4, 4), (9, 4)])
def test_the_nearest_sufficient_scale_is_taken(folders: tuple[Path, Path], factor: float, scale: int) -> None:
    assert catalog.find_checkpoint("portrait", factor).name == f"tinysr-portrait-x{scale}.safetensors"


@pytest.mark.parametrize(("factor", "scale"), [(4, 4), (4.5, 4), (7.4, 4), (7.5, 8), (8, 8), (9, 8)])
def test_a_scale_above_4_serves_factors_near_it(folders: tuple[Path, Path], factor: float, scale: int) -> None:
    shipped, user = folders
    write(shipped, "tinysr-portrait-x8", 8)
    assert catalog.find_checkpoint("portrait", factor).name == f"tinysr-portrait-x{scale}.safetensors"
    only = write(user, "large-x8", 8)
    assert catalog.find_checkpoint("large", factor) == only


def test_the_users_files_come_first(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shipped, user = folders
    own = write(user, "tinysr-portrait-x2", 2)
    mine = write(user, "my-portraits-x4", 4)
    extra = write(tmp_path / "extra", "other", 2)
    assert catalog.list_files([extra.parent])[:3] == [mine, own, extra]
    assert catalog.find_checkpoint("portrait", 2) == own
    assert catalog.find_checkpoint("my-portraits", 2) == mine
    assert catalog.find_checkpoint("other", folders=[extra.parent]) == extra
    assert shipped / "tinysr-portrait-x2.safetensors" not in catalog.list_files()


def test_paths_and_file_names_are_taken_as_they_are(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = write(tmp_path, "elsewhere", 2)
    assert catalog.find_checkpoint(str(path), 4) == path
    assert catalog.find_checkpoint("tinysr-portrait-x2", 4).name == "tinysr-portrait-x2.safetensors"
    assert catalog.find_checkpoint("tinysr-portrait-x2.safetensors", 4).name == "tinysr-portrait-x2.safetensors"


def test_unknown_names_are_answered_with_the_known_ones(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model 'portrat'.* portrait"):
        catalog.find_checkpoint("portrat")
    with pytest.raises(CheckpointError, match="There is no file"):
        catalog.find_checkpoint(str(tmp_path / "none.safetensors"))


def test_bad_files_are_told_and_do_not_hide_the_others(folders: tuple[Path, Path]) -> None:
    _, user = folders
    user.mkdir()
    (user / "broken.safetensors").write_bytes(b"no")
    infos, errors = catalog.list_checkpoints()
    assert [info.config.scale for info in infos] == [2, 3, 4]
    assert len(errors) == 1
    assert "broken.safetensors" in str(errors[0])


def test_the_real_folders() -> None:
    assert catalog.shipped_folder().name == "weights"
    assert catalog.user_folder().is_relative_to(Path.home())
