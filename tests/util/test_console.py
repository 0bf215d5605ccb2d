"""Consoles that cannot print every file name, as on Windows; imitated with PYTHONIOENCODING."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["-m", "tinysr_core.cli", "info", "日本.png"], rb"\u65e5\u672c.png"),
        (["-m", "tinysr_core.cli", "info", "無.png"], rb"\u7121.png"),
        (["-m", "tinysr_training", "写真"], rb"\u5199\u771f"),
    ],
)
def test_names_are_escaped_where_the_console_has_no_such_characters(
    command: list[str], expected: bytes, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "日本.png")
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, *command], capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert expected in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
