"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; give it the name `path` when the block ends well.

    The temporary path has the suffix of `path`, for writers that choose their format by it. Its bytes are on the disk
    before it gets its name. If the block raises (disk full, Ctrl-C), it is removed and `path` stays as it was.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
