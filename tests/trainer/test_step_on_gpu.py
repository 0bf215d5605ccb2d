"""The training loop on an imitated GPU; see step_on_gpu.py."""

import subprocess
import sys
from pathlib import Path


def test_nothing_is_on_the_wrong_device() -> None:
    """In its own process, because torch caches some of the fake tensors, which would break other tests."""
    script = Path(__file__).with_name("step_on_gpu.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
