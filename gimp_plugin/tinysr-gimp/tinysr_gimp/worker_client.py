"""The client of `tinysr_core.gimp.server`: starts it, sends pictures, takes results. Knows nothing of GIMP's library.

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .translation import _

PROTOCOL = 2
HELLO_SECONDS = 60.0
"""How long a Python may take to start; far more than a cold disk and a virus scanner need."""
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GI_TYPELIB_PATH")
"""What GIMP's bundles set for their own Python, and what would lead another Python astray."""
STRIP_BYTES = 8 * 2**20
STRIPS_AHEAD = 4
"""How many strips of a result may lie in memory before they are written."""


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
    description: str = ""
    """One line in English; empty where the model card has none."""
    has_detail: bool = False
    """Whether `detail` can be less than 1."""
    has_clean: bool = False
    """Whether `clean` can be more than 0."""


@dataclass(frozen=True)
class Hello:
    """What the worker says of itself when it starts."""

    version: str
    location: str
    models: tuple[Model, ...]
    damaged: tuple[str, ...] = ()
    """What is wrong with files that are no models."""


@dataclass(frozen=True)
class Result:
    """A picture from the worker; `clipped` where colours outside 0 to 1 were cut off."""

    strips: Iterator[bytes]
    """Interleaved float32 pixels, some whole rows at a time. Take them all before the next request."""
    clipped: bool


@dataclass(frozen=True)
class Runtime:
    """How the worker is started, and what repairs it."""

    command: tuple[str, ...]
    installer: str = "tinysr gimp install"
    """The command line that installs the plug-in again."""
    help: str = ""
    """The address of the documentation; empty where none is known."""


def read_runtime(plugin_folder: Path, environment: dict[str, str]) -> Runtime:
    """What the installer wrote into `runtime.json`; the variable `TINYSR_PYTHON` goes before it.

    Raises:
        WorkerError: neither names a Python that exists.
    """
    file = plugin_folder / "runtime.json"
    python = environment.get("TINYSR_PYTHON")
    if python:
        runtime, origin = Runtime((python, "-I", "-m", "tinysr_core.gimp.server")), "TINYSR_PYTHON"
    elif file.exists():
        try:
            recorded = json.loads(file.read_text(encoding="utf-8"))
            command = tuple(str(part) for part in recorded["command"])
            texts = {name: str(recorded[name]) for name in ("installer", "help") if name in recorded}
            runtime, origin = Runtime(command, **texts), str(file)
            python = command[0]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise WorkerError(_("{file} is damaged").format(file=file), install_hint(Runtime.installer)) from error
    else:
        raise WorkerError(_("TinySR's Python is not known"), install_hint(Runtime.installer))
    if not Path(python).exists():
        text = _("{origin} names a Python that does not exist, {python}")
        raise WorkerError(text.format(python=python, origin=origin), install_hint(runtime.installer))
    return runtime


def install_hint(installer: str) -> str:
    """What helps where the plug-in and TinySR do not find or understand each other."""
    return _("Run `{command}` in a terminal, then start GIMP again.").format(command=installer)


class Worker:
    """One worker process. Use it as a context manager: leaving it ends the process.

    A thread takes what the worker says, so that waiting can be limited; libgimp is never called from it.
    """

    def __init__(self, runtime: Runtime, log: Path) -> None:
        """Start the process; what it prints goes to the end of `log`.

        Raises:
            WorkerError: the system refuses to start it.
        """
        self.log = log
        self.lock = threading.Lock()
        """To be held from a request to the end of its result where several threads send requests."""
        self._hint = install_hint(runtime.installer)
        command = list(runtime.command)
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
                text = _("{python} could not be started ({reason})")
                raise WorkerError(text.format(python=command[0], reason=error.strerror), self._hint) from error
        self._messages: queue.Queue[dict | bytes | None] = queue.Queue(STRIPS_AHEAD)
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # what was not yet written has nobody to read it
            self._process.stdin.close()

    def hello(self) -> Hello:
        """Wait until the worker is there.

        Raises:
            WorkerError: it does not start, is of another version, or does not answer within `HELLO_SECONDS`.
        """
        try:
            hello = self._expect(self._messages.get(timeout=HELLO_SECONDS), "hello")
        except queue.Empty:
            raise WorkerError(_("TinySR's Python does not answer"), f"{self._hint} {self._see_log}") from None
        if hello.get("protocol") != PROTOCOL:
            text = _("The plug-in and TinySR {version} in {location} are of different versions")
            raise WorkerError(text.format(version=hello.get("version"), location=hello.get("location")), self._hint)
        models = tuple(Model(**{**model, "scales": tuple(model["scales"])}) for model in hello["models"])
        return Hello(hello["version"], hello["location"], models, tuple(hello["damaged"]))

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
            pass  # it is gone: its last message says why
        while (message := self._expect(self._messages.get(), "progress", "done"))["type"] == "progress":
            progress(message["done"] / message["total"])
        return Result(self._strips(message["size"]), message["clipped"])

    @property
    def _see_log(self) -> str:
        return _("Its messages are in {log}.").format(log=self.log)

    def _strips(self, size: int) -> Iterator[bytes]:
        while size:
            strip = self._messages.get()
            if not isinstance(strip, bytes):
                self._expect(strip)
            size -= len(strip)
            yield strip

    def _expect(self, message: dict | bytes | None, *kinds: str) -> dict:
        """`message`, if it is of one of `kinds`; errors, an end and anything else are raised."""
        if message is None:
            text = _("TinySR's Python ended before it was done (status {status})")
            hint = f"{_('Try again.')} {self._hint} {self._see_log}"
            raise WorkerError(text.format(status=self._process.wait()), hint)
        if isinstance(message, dict) and message.get("type") == "error":
            title, hint = _explained(str(message.get("kind")), self._hint)
            raise WorkerError(title, f"{hint} ({message.get('detail')}) {self._see_log}")
        if not isinstance(message, dict) or message.get("type") not in kinds:
            text = _("TinySR's Python sent an unknown message")
            raise WorkerError(text, f"{self._hint} {self._see_log}")
        return message

    def _listen(self) -> None:
        """Hand on what the worker says, results strip by strip; None when it has ended."""
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            size = row = 0
            try:
                message = json.loads(line)
                if message["type"] == "done":
                    row = message["width"] * message["channels"] * 4
                    size = message["size"] = row * message["height"]
                    message["clipped"] = bool(message["clipped"])
            except (ValueError, KeyError, TypeError):
                message = {"type": "unreadable"}
            self._messages.put(message)
            while size:
                strip = stdout.read(min(size, max(1, STRIP_BYTES // row) * row))
                if len(strip) % row or not strip:
                    self._messages.put(None)
                    return
                self._messages.put(strip)
                size -= len(strip)
        self._messages.put(None)


def _explained(kind: str, install_again: str) -> tuple[str, str]:
    """What an error of the worker means, and what to do, in the user's language; its own words are English."""
    texts = {
        "CheckpointError": (_("This model cannot be used"), _("Choose another model.")),
        "MemoryLimitError": (_("There is not enough memory"), _("Close other programs, or enlarge a smaller part.")),
        "ProtocolError": (_("The plug-in and TinySR do not understand each other"), install_again),
        "ImportError": (_("TinySR's Python lacks a package"), _("Install TinySR in it again.")),
        "RequestError": (_("This cannot be done"), _("Choose other settings.")),
    }
    return texts.get(kind, (_("TinySR failed"), _("Try again with other settings.")))
