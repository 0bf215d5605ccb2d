"""The server behind the GIMP plug-in: `python -I -m tinysr_core.worker` enlarges pictures that come over stdin.

Protocol 1. Both sides send one JSON object per line; raw pixels follow where it says so: native float32, interleaved, row
by row, non-linear values. Channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha (not premultiplied).

    worker  {"type": "hello", "protocol": 1, "version", "location", "default", "models": [{"name", "scales"}, ...]}
    client  {"protocol": 1, "type": "upscale", "width", "height", "channels", "result_width", "result_height",
             "model", "factor", "sharpen", "anti_alias"}                                                   and pixels
         or {"protocol": 1, "type": "resize", "width", "height", "channels", "result_width", "result_height"}   and pixels
    worker  {"type": "progress", "done", "total"}                                                   any number of times
    worker  {"type": "done", "width", "height", "channels", "clipped"}                                       and pixels
         or {"type": "error", "kind", "title", "hint"}                                            and it ends, status 1

`resize` is plain interpolation, for layer masks. Requests follow one another until the client goes. The client keeps the
pipe open as long as it wants results: its end means that the client is gone, and the worker ends at once, in the middle of
a computation too. This holds on every system, however the client ended. stderr is free for messages and tracebacks.
"""

import json
import math
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .catalog import DEFAULT_NAME, find_checkpoint, list_checkpoints, model_name
from .errors import CheckpointError, MemoryLimitError, RequestError, TinySRError
from .pipeline import enhance
from .resize import resize
from .upscaler import Progress, Upscaler, load_upscaler

PROTOCOL = 1
MAX_SIDE = 524288
"""The longest side of an image in GIMP, in pixels."""
MAX_LINE = 65536
"""The longest request line in bytes."""
ROUNDING = 1e-4
"""How far outside 0 to 1 conversions of linear colours may bring a value."""

Pixels = NDArray[np.float32]


class ProtocolError(TinySRError):
    """The client sent something that is not a request of this protocol."""


TITLES: Mapping[type[TinySRError], str] = {
    CheckpointError: "This model cannot be used",
    RequestError: "This cannot be done",
    MemoryLimitError: "There is not enough memory",
    ProtocolError: "The plug-in and TinySR do not understand each other",
}


@dataclass(frozen=True)
class Upscale:
    """What the network shall do with a picture."""

    model: str
    """A name or path for `catalog.find_checkpoint`; empty for the default."""
    factor: float
    """The enlargement the network is chosen for."""
    sharpen: bool
    anti_alias: bool


@dataclass(frozen=True)
class Request:
    """One picture to be enlarged."""

    width: int
    height: int
    channels: int
    result_width: int
    result_height: int
    upscale: Upscale | None
    """None: plain interpolation."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.result_height, self.result_width


Compute = Callable[[Request, Pixels, Progress], Pixels]
"""`(request, pixels [H,W,C], progress)` -> pixels [result_height, result_width, C]."""


def parse_request(line: bytes) -> Request:
    """Check one request line.

    Raises:
        ProtocolError: it is not JSON, or a name, type or value is not one of protocol 1.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"A request is not JSON ({error}); {_UPDATE}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(f"A request is not an object; {_UPDATE}")
    take = _Fields(fields)
    if (protocol := take.integer("protocol", 0, 2**31)) != PROTOCOL:
        raise ProtocolError(f"The plug-in speaks protocol {protocol}, this TinySR {PROTOCOL}; {_UPDATE}")
    kind = take.text("type")
    if kind not in ("upscale", "resize"):
        raise ProtocolError(f"A request has the unknown type {kind!r}; {_UPDATE}")
    request = Request(
        width=take.integer("width", 1, MAX_SIDE),
        height=take.integer("height", 1, MAX_SIDE),
        channels=take.integer("channels", 1, 4),
        result_width=take.integer("result_width", 1, MAX_SIDE),
        result_height=take.integer("result_height", 1, MAX_SIDE),
        upscale=None
        if kind == "resize"
        else Upscale(take.text("model"), take.factor("factor"), take.flag("sharpen"), take.flag("anti_alias")),
    )
    take.finish()
    return request


def serve(source: BinaryIO, sink: BinaryIO, compute: Compute, client_gone: Callable[[], None]) -> int:
    """Answer the requests from `source` until it ends; `client_gone` is called if it ends while one is computed.

    Returns the exit status: 0, or 1 after an error line.
    """
    inbox = _Inbox(source, client_gone)
    inbox.start()
    try:
        while (message := inbox.next()) is not None:
            request, pixels = message
            pixels, clipped = _displayable(pixels)
            result = compute(request, pixels, lambda done, total: _say(sink, type="progress", done=done, total=total))
            height, width, channels = result.shape
            _say(sink, type="done", width=width, height=height, channels=channels, clipped=clipped)
            sink.write(np.ascontiguousarray(result, np.float32).data)
            sink.flush()
            inbox.done()
        return 0
    except BrokenPipeError:
        return 1
    except Exception as error:  # whatever it is, the client must hear of it
        traceback.print_exc()
        _say_error(sink, error)
        return 1


class Enlarger:
    """Computes requests with the networks of the catalog; each is loaded once."""

    def __init__(self) -> None:
        self._upscalers: dict[Path, Upscaler] = {}

    def __call__(self, request: Request, pixels: Pixels, progress: Progress) -> Pixels:
        """See `Compute`."""
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        if request.upscale is None:
            enlarged = [resize(planes, *request.size).clip(0, 1)]
        else:
            colours = 3 if request.channels > 2 else 1
            colour, alpha = enhance(
                self._upscaler(request.upscale),
                planes[:, :colours],
                planes[:, colours:] if request.channels in (2, 4) else None,
                size=request.size,
                sharpen=request.upscale.sharpen,
                anti_alias=request.upscale.anti_alias,
                progress=progress,
            )
            enlarged = [colour] if alpha is None else [colour, alpha]
        return np.concatenate(enlarged, axis=1)[0].transpose(1, 2, 0)

    def _upscaler(self, wanted: Upscale) -> Upscaler:
        path = find_checkpoint(wanted.model or DEFAULT_NAME, wanted.factor)
        if path not in self._upscalers:
            self._upscalers[path] = load_upscaler(path)
        return self._upscalers[path]


def main() -> int:
    """Serve stdin and stdout of this process; returns its exit status."""
    source = sys.stdin.buffer
    # A library that prints must not talk into the protocol: from here on its stdout is stderr.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _say(sink, **_hello())
        from .engines import torch  # noqa: F401  (takes a second, while the user still reads the dialog)
    except BrokenPipeError:
        return 1
    except Exception as error:
        traceback.print_exc()
        _say_error(sink, error)
        return 1
    return serve(source, sink, Enlarger(), client_gone=lambda: os._exit(1))


_UPDATE = "install the plug-in of this version with `tinysr gimp install`."


class _Fields:
    """Takes the fields of a request one by one, each checked."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def integer(self, name: str, low: int, high: int) -> int:
        value = self._take(name)
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"{name} must be a whole number from {low} to {high}; {_UPDATE}")
        return value

    def factor(self, name: str) -> float:
        value = self._take(name)
        if type(value) not in (int, float) or not 0 < value <= MAX_SIDE or not math.isfinite(value):
            raise ProtocolError(f"{name} must be a number above 0; {_UPDATE}")
        return float(value)

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str):
            raise ProtocolError(f"{name} must be text; {_UPDATE}")
        return value

    def flag(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            raise ProtocolError(f"{name} must be true or false; {_UPDATE}")
        return value

    def finish(self) -> None:
        if self._fields:
            raise ProtocolError(f"A request has the unknown field {min(self._fields)!r}; {_UPDATE}")

    def _take(self, name: str) -> Any:
        if name not in self._fields:
            raise ProtocolError(f"A request lacks {name}; {_UPDATE}")
        return self._fields.pop(name)


class _Inbox:
    """Reads requests in a thread of its own, so that the end of the pipe is noticed while a picture is computed."""

    def __init__(self, source: BinaryIO, client_gone: Callable[[], None]) -> None:
        self._source = source
        self._client_gone = client_gone
        self._messages: queue.Queue[tuple[Request, Pixels] | Exception | None] = queue.Queue()

    def start(self) -> None:
        threading.Thread(target=self._read_all, daemon=True).start()

    def next(self) -> tuple[Request, Pixels] | None:
        """Wait for a request; None at the end of the pipe."""
        message = self._messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    def done(self) -> None:
        """The last request is answered."""
        self._messages.task_done()

    def _read_all(self) -> None:
        try:
            while (message := self._read()) is not None:
                self._messages.put(message)
        except Exception as error:
            self._messages.put(error)
            return
        if self._messages.unfinished_tasks:
            self._client_gone()
        self._messages.put(None)

    def _read(self) -> tuple[Request, Pixels] | None:
        line = self._source.readline(MAX_LINE)
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise ProtocolError(f"A request line is cut off, or longer than {MAX_LINE} bytes; {_UPDATE}")
        request = parse_request(line)
        pixels = np.empty((request.height, request.width, request.channels), np.float32)
        rest = memoryview(pixels).cast("B")
        while rest:
            count = self._source.readinto(rest)  # type: ignore[attr-defined]  # every buffered stream has it
            if not count:
                raise ProtocolError(f"The pixels of a request end {len(rest)} bytes too early; {_UPDATE}")
            rest = rest[count:]
        return request, pixels


def _displayable(pixels: Pixels) -> tuple[Pixels, bool]:
    """`pixels` in [0,1], and whether more than rounding errors had to go for it. NaN becomes 0."""
    low, high = pixels.min(), pixels.max()
    if low >= 0 and high <= 1:
        return pixels, False
    clipped = not (low >= -ROUNDING and high <= 1 + ROUNDING)
    return np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1), clipped


def _hello() -> dict[str, Any]:
    families: dict[str, list[int]] = {}
    for info in list_checkpoints()[0]:
        families.setdefault(model_name(info.path), []).append(info.config.scale)
    models = [{"name": name, "scales": sorted(scales)} for name, scales in families.items()]
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "version": __version__,
        "location": str(Path(__file__).parent),
        "default": DEFAULT_NAME,
        "models": models,
    }


def _say(sink: BinaryIO, **message: Any) -> None:
    sink.write(json.dumps(message).encode() + b"\n")
    sink.flush()


def _say_error(sink: BinaryIO, error: Exception) -> None:
    if isinstance(error, MemoryError):
        error = MemoryLimitError("Memory ran out; close other programs, or enlarge a smaller part of the picture.")
    if isinstance(error, ImportError):
        title, hint = "TinySR's Python lacks a package", f"{error}; install TinySR in it again: pip install tinysr."
    elif isinstance(error, TinySRError):
        title, hint = TITLES.get(type(error), "TinySR cannot do this"), str(error)
    else:
        title, hint = "TinySR failed", f"{type(error).__name__}: {error}."
    try:
        _say(sink, type="error", kind=type(error).__name__, title=title, hint=hint)
    except OSError:
        pass  # the client is gone; the traceback is in the log


if __name__ == "__main__":
    # without the interpreter's teardown, which takes torch 0.3 s
    status = main()
    sys.stderr.flush()
    os._exit(status)
