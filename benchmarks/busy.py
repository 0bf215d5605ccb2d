"""Keeps a core of the machine busy."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def busy_core(busy: bool) -> Generator[None]:
    """Start a process that keeps one core busy, if `busy`."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
