import subprocess
import sys
from pathlib import Path

import pytest

from tinysr_core.util.files import atomic_write, remove_leftovers


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
