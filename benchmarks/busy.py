"""A machine that has something else to do."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def busy_core(busy: bool) -> Generator[None]:
    """Another process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
