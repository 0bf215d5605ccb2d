"""The training loop on a GPU that is not there; see step_on_gpu.py."""

import subprocess
import sys
from pathlib import Path

RUN = "import os, sys, pytest; code = pytest.main(sys.argv[1:]); sys.stdout.flush(); os._exit(code)"
"""Torch's own exit handlers crash on fake tensors that they free: they are left out."""


def test_nothing_is_on_the_wrong_device() -> None:
    """In a process of its own: torch keeps some of the fake tensors in caches that other tests would meet."""
    script = Path(__file__).with_name("step_on_gpu.py")
    command = [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
