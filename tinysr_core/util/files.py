"""Atomic writes, and locks that are released when the process ends."""

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
"""Whether an open file can be renamed and deleted. On Windows it cannot, even if it is only mapped into memory."""
SETTLED_SECONDS = 60
"""On Windows, a younger temporary file is not treated as a leftover: it is closed shortly before it is renamed."""
BUSY_SECONDS = 2.0
"""How long to wait on Windows for a virus scanner or a viewer that has the file open."""


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The temporary path has the suffix of `path`, because some writers choose the format by it. The file is flushed to
    the disk before it is renamed. If the block raises (disk full, Ctrl-C), the file is removed and `path` is unchanged.

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
            _retry_while_in_use(lambda: temporary.replace(path))
    finally:
        with suppress(PermissionError):  # `remove_leftovers` removes it later; the first error matters more
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed programs left in `folder`. Files in use stay."""
    with suppress(OSError):  # no such folder, or no permission: leftovers do no harm
        for path in folder.iterdir():
            with suppress(OSError):
                if _TEMPORARY.fullmatch(path.name) and _is_leftover(path):
                    path.unlink(missing_ok=True)


def try_delete(path: Path) -> bool:
    """Delete a file, if it exists. False if another program keeps it open (Windows)."""
    try:
        _retry_while_in_use(lambda: path.unlink(missing_ok=True))
    except PermissionError:
        return False
    return True


@contextmanager
def exclusive_lock(path: Path) -> Generator[None]:
    """Lock the file `path` while the block runs. The lock is released even if the process is killed; the file stays.

    On network file systems that share locks, such as NFS and SMB, the lock holds for other machines too.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be created.
    """
    with path.open("ab") as stream:
        try:
            _lock(stream)
        except PermissionError as error:  # how Windows reports a lock that is held
            raise BlockingIOError(*error.args) from error
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
        yield


def _is_leftover(path: Path) -> bool:
    """Whether no process is writing to the temporary file `path`; False if that is not yet certain.

    Raises:
        OSError: a process is writing to it, or it cannot be opened.
    """
    if not OPEN_FILES_CAN_MOVE and time.time() - path.stat().st_mtime < SETTLED_SECONDS:
        return False
    with path.open("rb+") as stream:  # NFS locks only files that are open for writing
        _lock(stream)
        return True


def _retry_while_in_use(action: Callable[[], Any]) -> None:
    """Run `action`. On Windows, retry for `BUSY_SECONDS` while another program has the file open."""
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
        """Lock one byte far beyond the end of the file, so that its contents can still be read and written."""
        stream.seek(1 << 40)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock(stream: IO[bytes]) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
