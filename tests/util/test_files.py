import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tinysr_core.util import files
from tinysr_core.util.files import atomic_write, exclusive_lock, remove_leftovers, try_delete

on_windows = pytest.mark.usefixtures("windows_files")


def test_the_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_changes_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_leftovers_of_killed_programs_are_removed_and_files_in_use_are_not(tmp_path: Path) -> None:
    killed = """
import os, sys
from pathlib import Path
from tinysr_core.util.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", killed, tmp_path / "b.png"], check=False)
    (tmp_path / ".0123456789ab.partially.png").touch()
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_write(tmp_path / "a.png") as temporary:
        temporary.write_text("half")
        remove_leftovers(tmp_path)
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", ".0123456789ab.partially.png"}
    assert (tmp_path / "a.png").read_text() == "whole"
    remove_leftovers(tmp_path / "nowhere")


@on_windows
def test_files_appear_under_the_rules_of_windows(tmp_path: Path) -> None:
    """The temporary file is closed before it is renamed. If another program reads the target, writing waits."""
    target = tmp_path / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("old")
        remove_leftovers(tmp_path)
    reader = target.open()
    threading.Timer(0.2, reader.close).start()
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@on_windows
def test_a_file_that_stays_open_on_windows_is_an_error_and_keeps_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BUSY_SECONDS", 0.1)
    target = tmp_path / "a.txt"
    target.write_text("old")
    with target.open():
        with pytest.raises(PermissionError, match="in use"), atomic_write(target) as temporary:
            temporary.write_text("new")
        assert not try_delete(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    assert try_delete(target) and not target.exists()


@on_windows
def test_on_windows_a_fresh_temporary_file_may_be_about_to_get_its_name(tmp_path: Path) -> None:
    closed = tmp_path / ".0123456789ab.partial.png"
    closed.touch()
    remove_leftovers(tmp_path)
    assert closed.exists()
    os.utime(closed, (0, time.time() - 2 * files.SETTLED_SECONDS))
    remove_leftovers(tmp_path)
    assert not closed.exists()


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    code = """
import pathlib, sys
from tinysr_core.util import exclusive_lock
with exclusive_lock(pathlib.Path(sys.argv[1])):
    pass
"""
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with exclusive_lock(tmp_path / ".lock"):
        assert b"BlockingIOError" in subprocess.run(command, capture_output=True, check=False).stderr
    subprocess.run(command, check=True)
