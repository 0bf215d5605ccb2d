"""Files that appear whole or not at all."""

import os
import re
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.partial(\.\w+)?")


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
        with _in_use(temporary):
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of programs that were killed while writing in `folder`, not those in use."""
    with suppress(OSError):  # nothing depends on it: no folder, or one that may not be changed
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and not _is_in_use(path):
                path.unlink(missing_ok=True)


if sys.platform == "win32":

    @contextmanager
    def _in_use(path: Path) -> Generator[None]:
        yield  # a file that is open cannot be removed there

    def _is_in_use(path: Path) -> bool:
        return False

else:

    @contextmanager
    def _in_use(path: Path) -> Generator[None]:
        """Make an empty file and hold a lock on it; the system lets go of it however this process ends."""
        with path.open("xb") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _is_in_use(path: Path) -> bool:
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
            return False
