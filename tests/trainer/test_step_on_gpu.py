"""The training loop on an imitated GPU; see step_on_gpu.py."""

import subprocess
import sys
from pathlib import Path

RUN = "import os, sys, pytest; code = pytest.main(sys.argv[1:]); sys.stdout.flush(); os._exit(code)"
"""Skips torch's exit handlers, which crash when they free fake tensors."""


def test_nothing_is_on_the_wrong_device() -> None:
    """In its own process, because torch caches some of the fake tensors, which would break other tests."""
    script = Path(__file__).with_name("step_on_gpu.py")
    command = [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
