"""Files that appear whole or not at all, and locks that end with the process that holds them."""

import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.partial(\.\w+)?")
OPEN_FILES_CAN_MOVE = sys.platform != "win32"
"""Windows neither renames nor deletes a file that is open or mapped into memory."""
SETTLED_SECONDS = 60
"""There, a temporary file is not taken for a leftover before this age: it is closed just before it is renamed."""
BUSY_SECONDS = 2.0
"""How long to wait for a virus scanner or a viewer that has a file open on Windows."""


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; give it the name `path` when the block ends well.

    The temporary path has the suffix of `path`, for writers that choose their format by it. Its bytes are on the disk
    before it gets its name. If the block raises (disk full, Ctrl-C), it is removed and `path` stays as it was.

    Raises:
        OSError: the folder cannot be written to, the disk is full, or another program keeps `path` open (Windows).
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        with ExitStack() as held:
            stream = held.enter_context(temporary.open("xb"))
            with suppress(OSError):  # a file system without locks
                _lock(stream)
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            if not OPEN_FILES_CAN_MOVE:
                held.close()
            _patiently(lambda: temporary.replace(path))
    finally:
        with suppress(PermissionError):  # a leftover for `remove_leftovers`; the error that led here matters more
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of programs that were killed while writing in `folder`, not those in use."""
    with suppress(OSError):  # nothing depends on it: no folder, or one that may not be changed
        for path in folder.iterdir():
            with suppress(OSError):
                if _TEMPORARY.fullmatch(path.name) and _is_leftover(path):
                    path.unlink(missing_ok=True)


def delete_later(path: Path) -> bool:
    """Delete a file that nobody needs any more; False where another program keeps it open (Windows)."""
    try:
        _patiently(lambda: path.unlink(missing_ok=True))
    except PermissionError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Lock the file `path` while the block runs. The lock ends with the process, however that ends; the file stays.

    Other machines see the lock where the file system shares it, as NFS and SMB do.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be made.
    """
    with path.open("ab") as stream:
        try:
            _lock(stream)
        except PermissionError as error:  # Windows
            raise BlockingIOError(*error.args) from error
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
        yield


def _is_leftover(path: Path) -> bool:
    """Whether no process writes to a temporary file any more.

    Raises:
        OSError: a process does, or it cannot be known.
    """
    if not OPEN_FILES_CAN_MOVE and time.time() - path.stat().st_mtime < SETTLED_SECONDS:
        return False
    with path.open("rb+") as stream:  # NFS locks only what may be written to
        _lock(stream)
        return True


def _patiently(action: Callable[[], Any]) -> None:
    """Do `action`; where a file is in use on Windows, try again for a while."""
    deadline = time.monotonic() + (0 if OPEN_FILES_CAN_MOVE else BUSY_SECONDS)
    while True:
        try:
            action()
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


if sys.platform == "win32":

    def _lock(stream: IO[bytes]) -> None:
        """Lock the first byte behind what any file holds, so that the file can be read and written."""
        stream.seek(1 << 40)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock(stream: IO[bytes]) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
