"""The client of `tinysr_core.gimp.worker`: starts the worker, sends pictures, receives results. Uses nothing of GIMP.

`tinysr_core/gimp/worker.py` describes the protocol. The client does not wait forever for a worker that does not start,
and leaves no worker behind.
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
from typing import BinaryIO

from .translation import _

PROTOCOL = 3
HELLO_SECONDS = 60.0
"""How long the worker may take to start: far more than with a cold disk and a virus scanner."""
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GI_TYPELIB_PATH")
"""Variables that GIMP's bundles set for their own Python, and that would break another Python."""
STRIP_BYTES = 8 * 2**20
STRIPS_AHEAD = 4
"""How many strips of a result may be in memory before they are written."""


class WorkerError(Exception):
    """The worker cannot be started, has stopped, or refuses: `title` says what is wrong, `hint` what to do."""

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
    """What the worker says about itself when it starts."""

    version: str
    location: str
    models: tuple[Model, ...]
    damaged: tuple[str, ...] = ()
    """The names of damaged model files."""


@dataclass(frozen=True)
class Result:
    """A picture from the worker."""

    strips: Iterator[bytes]
    """Interleaved float32 pixels, some whole rows at a time. Take them all before the next request."""
    clipped: bool
    """Whether colours outside 0 to 1 were clipped."""
    networks: tuple[int, ...]
    """The scales of the networks that ran one after the other; empty if the first one reached the size."""


@dataclass(frozen=True)
class Runtime:
    """How to start the worker, and how to repair the installation."""

    command: tuple[str, ...]
    installer: str = "tinysr gimp install"
    """The command line that installs the plug-in again."""
    help: str = ""
    """The address of the documentation; empty if unknown."""


def read_runtime(plugin_folder: Path, environment: dict[str, str]) -> Runtime:
    """Read what the installer wrote into `runtime.json`; the variable `TINYSR_PYTHON` overrides its command.

    Raises:
        WorkerError: neither names a Python that exists.
    """
    file = plugin_folder / "runtime.json"
    python = environment.get("TINYSR_PYTHON")
    if python:
        runtime, origin = Runtime((python, "-I", "-m", "tinysr_core.gimp.worker")), "TINYSR_PYTHON"
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
        raise WorkerError(_("The Python for TinySR is unknown"), install_hint(Runtime.installer))
    if not Path(python).exists():
        text = _("{origin} names a Python that does not exist: {python}")
        raise WorkerError(text.format(python=python, origin=origin), install_hint(runtime.installer))
    return runtime


def install_hint(installer: str) -> str:
    """What to do if the plug-in and TinySR do not find or understand each other."""
    return _("Run `{command}` in a terminal, then start GIMP again.").format(command=installer)


class Worker:
    """One worker process. Use it as a context manager: leaving it ends the process.

    A thread reads what the worker says, so that waiting can be limited. It never calls libgimp.
    """

    def __init__(self, runtime: Runtime, log: Path) -> None:
        """Start the process; what it prints goes to the end of `log`.

        Raises:
            WorkerError: the system refuses to start it.
        """
        self.log = log
        self.lock = threading.Lock()
        """Hold it from a request to the end of its result if several threads send requests."""
        self._hint = install_hint(runtime.installer)
        command = list(runtime.command)
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        with _opened(log) as log_stream:
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
        with contextlib.suppress(OSError):  # nobody reads what is still in the buffer
            self._process.stdin.close()

    def hello(self) -> Hello:
        """Wait until the worker has started.

        Raises:
            WorkerError: it does not start, has another version, or does not answer within `HELLO_SECONDS`.
        """
        try:
            hello = self._expect(self._messages.get(timeout=HELLO_SECONDS), "hello")
        except queue.Empty:
            raise WorkerError(_("TinySR's worker does not answer"), f"{self._hint} {self._see_log}") from None
        if hello.get("protocol") != PROTOCOL:
            text = _("The plug-in and TinySR {version} in {location} have different versions")
            raise WorkerError(text.format(version=hello.get("version"), location=hello.get("location")), self._hint)
        models = tuple(Model(**{**model, "scales": tuple(model["scales"])}) for model in hello["models"])
        return Hello(hello["version"], hello["location"], models, tuple(hello["damaged"]))

    def compute(self, request: dict, pixels: Iterable[bytes], progress: Callable[[float], None]) -> Result:
        """Send one picture and wait for its result. `progress` gets the share that is done, 0 to 1.

        Raises:
            WorkerError: the worker refused, or stopped.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"protocol": PROTOCOL, **request}).encode() + b"\n")
            for strip in pixels:
                stdin.write(strip)
            stdin.flush()
        except OSError:
            pass  # the worker has stopped; its last message says why
        while (message := self._expect(self._messages.get(), "progress", "done"))["type"] == "progress":
            progress(message["done"] / message["total"])
        return Result(self._strips(message["size"]), message["clipped"], message["networks"])

    @property
    def _see_log(self) -> str:
        return _("Details are in {log}.").format(log=self.log)

    def _strips(self, size: int) -> Iterator[bytes]:
        while size:
            strip = self._messages.get()
            if not isinstance(strip, bytes):
                self._expect(strip)
            size -= len(strip)
            yield strip

    def _expect(self, message: dict | bytes | None, *kinds: str) -> dict:
        """Return `message` if it is of one of `kinds`; raise an error for everything else."""
        if message is None:
            if "hello" in kinds:
                text, hint = _("TinySR's worker did not start (status {status})"), self._hint
            else:
                text, hint = _("TinySR's worker stopped unexpectedly (status {status})"), _("Try again.")
            raise WorkerError(text.format(status=self._process.wait()), f"{hint} {self._see_log}")
        if isinstance(message, dict) and message.get("type") == "error":
            title, hint = _explained(str(message.get("kind")), self._hint)
            detail = str(message.get("detail")).rstrip(".")
            raise WorkerError(f"{title} ({detail})", f"{hint} {self._see_log}")
        if not isinstance(message, dict) or message.get("type") not in kinds:
            text = _("TinySR's worker sent an unknown message")
            raise WorkerError(text, f"{self._hint} {self._see_log}")
        return message

    def _listen(self) -> None:
        """Queue what the worker says, results strip by strip, and None at its end."""
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
                    message["networks"] = tuple(int(scale) for scale in message["networks"])
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


def _opened(log: Path) -> BinaryIO:
    """The end of the log. Without a log if it cannot be written, as on Windows while another program has it open."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


def _explained(kind: str, install_again: str) -> tuple[str, str]:
    """What an error of the worker means and what to do, in the user's language. The worker speaks English."""
    texts = {
        "CheckpointError": (_("This model cannot be used"), _("Choose another model.")),
        "MemoryLimitError": (_("There is not enough memory"), _("Close other programs, or enlarge a smaller part.")),
        "ProtocolError": (_("The plug-in and TinySR do not understand each other"), install_again),
        "ImportError": (_("TinySR's Python lacks a package"), _("Install TinySR in it again.")),
        "RequestError": (_("This cannot be done"), _("Choose other settings.")),
    }
    return texts.get(kind, (_("TinySR failed"), _("Try again with other settings.")))
