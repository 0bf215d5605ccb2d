import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tinysr_core.errors import TrainingError
from tinysr_core.trainer.run_folder import RunFolder

resource = pytest.importorskip("resource", reason="Windows has no limit of the size of files")


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond `room` bytes, which looks like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_state(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.save_state({"step": 1, "weights": torch.zeros(100)})
    with full_disk(2000), pytest.raises(TrainingError, match=r"cannot be written to .*same command"):
        folder.save_state({"step": 2, "weights": torch.zeros(100_000)})
    state = folder.load_state()
    assert state is not None
    assert state["step"] == 1
    assert [path.name for path in folder.path.iterdir()] == ["state.pt"]


def test_an_incomplete_row_is_dropped_on_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append({"step": 10, "total": 0.5})
    with full_disk(30), pytest.raises(TrainingError, match="Free disk space"):
        folder.append({"step": 20, "total": 0.25})
    assert folder.metrics.read_text().count("\n") == 1
    assert folder.rewind(20) == [{"step": 10, "total": 0.5}]
    folder.append({"step": 20, "total": 0.25})
    assert [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()] == [10, 20]


def test_rows_after_the_last_state_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (10, 20, 30):
        folder.append({"step": step})
    assert [row["step"] for row in folder.rewind(20)] == [10, 20]
    assert folder.metrics.read_text() == '{"step": 10}\n{"step": 20}\n'


def test_a_folder_is_for_one_run_at_a_time(tmp_path: Path) -> None:
    second = RunFolder(tmp_path).lock()
    with RunFolder(tmp_path).lock(), pytest.raises(TrainingError, match="Another process"):
        second.__enter__()
    with RunFolder(tmp_path).lock():
        pass


def test_a_folder_keeps_to_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_definition({"recipe": {"betas": (0.9, 0.99)}, "data": "a"}, {"torch": "1"})
    folder.save_definition({"recipe": {"betas": (0.9, 0.99)}, "data": "a"}, {"torch": "2"})
    assert json.loads(folder.definition.read_text())["versions"] == {"torch": "1"}
    with pytest.raises(TrainingError, match="a run with another data"):
        folder.save_definition({"recipe": {"betas": (0.9, 0.99)}, "data": "b"}, {})


def test_a_damaged_state_is_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.load_state() is None
    folder.state.write_bytes(b"no state")
    with pytest.raises(TrainingError, match=r"state\.pt is damaged .*delete it"):
        folder.load_state()


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written to"):
        RunFolder(tmp_path / "file")
