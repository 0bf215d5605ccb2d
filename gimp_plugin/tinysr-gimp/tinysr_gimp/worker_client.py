"""The client of `tinysr_core.gimp.server`: starts it, sends pictures, takes results. Knows nothing of GIMP.

`tinysr_core/gimp/server.py` describes the protocol. The client never waits forever for a worker that does not start,
and never leaves one behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROTOCOL = 1
HELLO_SECONDS = 60.0
"""How long a Python may take to start; far more than a cold disk and a virus scanner need."""
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GI_TYPELIB_PATH")
"""What GIMP's bundles set for their own Python, and what would lead another Python astray."""
INSTALL_HINT = "Run `tinysr gimp install` in a terminal, then start GIMP again."


class WorkerError(Exception):
    """The worker cannot be started, broke off, or refused; `title` says what, `hint` what to do."""

    def __init__(self, title: str, hint: str) -> None:
        super().__init__(f"{title}. {hint}")
        self.title = title
        self.hint = hint


@dataclass(frozen=True)
class Model:
    """A model that the worker can use."""

    name: str
    scales: tuple[int, ...]


@dataclass(frozen=True)
class Hello:
    """What the worker says of itself when it starts."""

    version: str
    location: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class Result:
    """Interleaved float32 pixels, row by row; `clipped` where colours outside 0 to 1 were cut off."""

    pixels: bytes
    clipped: bool


def worker_command(plugin_folder: Path, environment: dict[str, str]) -> list[str]:
    """The command line that starts the worker.

    The variable `TINYSR_PYTHON` goes before what the installer wrote into `runtime.json`.

    Raises:
        WorkerError: neither names a Python that exists.
    """
    runtime = plugin_folder / "runtime.json"
    if environment.get("TINYSR_PYTHON"):
        command, origin = [environment["TINYSR_PYTHON"], "-I", "-m", "tinysr_core.gimp.server"], "TINYSR_PYTHON"
    elif runtime.exists():
        try:
            command = [str(part) for part in json.loads(runtime.read_text(encoding="utf-8"))["command"]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise WorkerError(f"{runtime} is damaged", INSTALL_HINT) from error
        origin = str(runtime)
    else:
        raise WorkerError("TinySR's Python is not known", INSTALL_HINT)
    if not Path(command[0]).exists():
        raise WorkerError(f"TinySR's Python is not at {command[0]} any more, where {origin} says", INSTALL_HINT)
    return command


class Worker:
    """One worker process. Use it as a context manager: leaving it ends the process.

    A thread takes what the worker says, so that waiting can be limited; libgimp is never called from it.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        """Start the process; what it prints goes to the end of `log`.

        Raises:
            WorkerError: the system refuses to start it.
        """
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        with log.open("ab") as log_stream:
            log_stream.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {command[0]}\n".encode())
            log_stream.flush()
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log_stream,
                    env=environment,
                    creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
                )
            except OSError as error:
                raise WorkerError(f"{command[0]} could not be started ({error.strerror})", INSTALL_HINT) from error
        self._messages: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # what was not yet written has nobody to read it
            self._process.stdin.close()

    def hello(self, waiting: Callable[[], None] = lambda: None) -> Hello:
        """Wait until the worker is there; `waiting` is called some fifty times a second.

        Raises:
            WorkerError: it does not start, is of another version, or does not answer within `HELLO_SECONDS`.
        """
        deadline = time.monotonic() + HELLO_SECONDS
        while self._messages.empty():
            if time.monotonic() > deadline:
                raise WorkerError("TinySR's Python does not answer", f"{INSTALL_HINT} Its messages are in {self.log}.")
            waiting()
            time.sleep(0.02)
        hello = self._expect(self._messages.get(), "hello")
        if hello.get("protocol") != PROTOCOL:
            raise WorkerError(
                f"The plug-in and TinySR {hello.get('version')} in {hello.get('location')} are of different versions",
                INSTALL_HINT,
            )
        models = tuple(Model(model["name"], tuple(model["scales"])) for model in hello["models"])
        return Hello(hello["version"], hello["location"], models)

    def compute(self, request: dict, pixels: Iterable[bytes], progress: Callable[[float], None]) -> Result:
        """Send one picture and wait for its result. `progress` is told the share done, 0 to 1.

        Raises:
            WorkerError: the worker refused, or broke off.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"protocol": PROTOCOL, **request}).encode() + b"\n")
            for strip in pixels:
                stdin.write(strip)
            stdin.flush()
        except OSError:
            pass  # it is gone, or refused half-way: its last message says why
        while (message := self._expect(self._messages.get(), "progress", "done"))["type"] == "progress":
            progress(message["done"] / message["total"])
        return Result(message["pixels"], message["clipped"])

    def _expect(self, message: dict | None, *kinds: str) -> dict:
        """`message`, if it is of one of `kinds`; errors, an end and anything else are raised."""
        see_log = f"Its messages are in {self.log}."
        if message is None:
            raise WorkerError(
                f"TinySR's Python ended before it was done (status {self._process.wait()})",
                f"Try again; if it happens at the start, run `tinysr gimp check` in a terminal. {see_log}",
            )
        if message.get("type") == "error":
            raise WorkerError(str(message.get("title")), f"{message.get('hint')} {see_log}")
        if message.get("type") not in kinds:
            raise WorkerError("TinySR's Python said something that is not understood", f"{INSTALL_HINT} {see_log}")
        return message

    def _listen(self) -> None:
        """Hand on what the worker says; None when it has ended."""
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            try:
                message = json.loads(line)
                if message["type"] == "done":
                    size = message["width"] * message["height"] * message["channels"] * 4
                    message["pixels"] = stdout.read(size)
                    if len(message["pixels"]) != size:
                        break
            except (ValueError, KeyError, TypeError):
                message = {"type": "unreadable"}
            self._messages.put(message)
        self._messages.put(None)
