"""The server behind the GIMP plug-in: `python -I -m tinysr_core.gimp.server` enlarges pictures that come over stdin.

Protocol 1. Both sides send one JSON object per line; raw pixels follow where it says so: native float32, interleaved,
row by row, non-linear values. Channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha (not premultiplied).

    worker  {"type": "hello", "protocol": 1, "version", "location", "models": [{"name", "scales"}, ...]}
    client  {"protocol": 1, "type": "upscale", "width", "height", "channels", "result_width", "result_height",
             "model", "factor", "sharpen", "anti_alias", "detail" (may be left out: 1)} and pixels
         or {"protocol": 1, "type": "resize", "width", "height", "channels", "result_width", "result_height"} and pixels
    worker  {"type": "progress", "done", "total"}, any number of times, then
            {"type": "done", "width", "height", "channels", "clipped"} and pixels
         or {"type": "error", "kind", "title", "hint"}, and it ends with status 1

`resize` is plain interpolation, for layer masks. A result of the picture's own size is enlarged by the network's
scale and brought back. Requests follow one another until the client goes. The client keeps the pipe open as long as
it wants results: its end means that the client is gone, and the worker ends at once, in the middle of a computation
too. This holds on every system, however the client ended. stderr is free for messages.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it; see `util.threads`

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..engines import RunOptions, Upscaler, preload
from ..errors import CheckpointError, MemoryLimitError, RequestError, TinySRError
from ..model import DEFAULT_NAME, find_checkpoint, list_checkpoints, model_name
from ..pipeline import enhance
from ..postprocess import ExactSize, resize
from ..util import Progress
from .protocol import PROTOCOL, UPDATE, NetworkChoice, ProtocolError, Request, parse_request

MAX_LINE = 65536
"""The longest request line in bytes."""
ROUNDING = 1e-4
"""How far outside 0 to 1 conversions of linear colours may bring a value."""

Pixels = NDArray[np.float32]


TITLES: Mapping[type[TinySRError], str] = {
    CheckpointError: "This model cannot be used",
    RequestError: "This cannot be done",
    MemoryLimitError: "There is not enough memory",
    ProtocolError: "The plug-in and TinySR do not understand each other",
}


Compute = Callable[[Request, Pixels, Progress], Pixels]
"""`(request, pixels [H,W,C], progress)` -> pixels [result_height, result_width, C]."""


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
        self._upscalers: dict[tuple[Path, RunOptions], Upscaler] = {}

    def __call__(self, request: Request, pixels: Pixels, progress: Progress) -> Pixels:
        """See `Compute`."""
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        if request.network is None:
            enlarged = [planes]
        else:
            colours = 3 if request.channels > 2 else 1
            same_size = request.size == (request.height, request.width)
            size = None if same_size else ExactSize(request.result_width, request.result_height)
            colour, alpha = enhance(
                self._upscaler(request.network),
                planes[:, :colours],
                planes[:, colours:] if request.channels in (2, 4) else None,
                replace(request.finish, size=size),
                progress=progress,
            )
            enlarged = [colour] if alpha is None else [colour, alpha]
        result = np.concatenate(enlarged, axis=1)
        if result.shape[2:] != request.size:
            result = resize(result, *request.size).clip(0, 1)
        return result[0].transpose(1, 2, 0)

    def _upscaler(self, wanted: NetworkChoice) -> Upscaler:
        key = find_checkpoint(wanted.model or DEFAULT_NAME, wanted.factor), wanted.options
        if key not in self._upscalers:
            self._upscalers[key] = wanted.options.load(key[0])
        return self._upscalers[key]


def main() -> int:
    """Serve stdin and stdout of this process; returns its exit status."""
    source = sys.stdin.buffer
    # A library that prints must not talk into the protocol: from here on its stdout is stderr.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr  # it keeps no line back, so the log is whole however the worker ends
    try:
        _say(sink, **_hello())
        preload()  # takes a moment, while the user still reads the dialog
    except BrokenPipeError:
        return 1
    except Exception as error:
        traceback.print_exc()
        _say_error(sink, error)
        return 1
    return serve(source, sink, Enlarger(), client_gone=lambda: os._exit(1))


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
            raise ProtocolError(f"A request line is cut off, or longer than {MAX_LINE} bytes; {UPDATE}")
        request = parse_request(line)
        pixels = np.empty((request.height, request.width, request.channels), np.float32)
        rest = memoryview(pixels.data).cast("B")
        while rest:
            count = self._source.readinto(rest)  # type: ignore[attr-defined]  # every buffered stream has it
            if not count:
                raise ProtocolError(f"The pixels of a request end {len(rest)} bytes too early; {UPDATE}")
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
        "location": str(Path(__file__).parents[1]),
        "models": models,
    }


def _say(sink: BinaryIO, **message: Any) -> None:
    sink.write(json.dumps(message).encode() + b"\n")
    sink.flush()


def _say_error(sink: BinaryIO, error: Exception) -> None:
    if isinstance(error, MemoryError):
        error = MemoryLimitError("Memory ran out; close other programs, or enlarge a smaller part of the picture.")
    if isinstance(error, ImportError):
        title, hint = "TinySR's Python lacks a package", f"{error}; install TinySR in it again."
    elif isinstance(error, TinySRError):
        title, hint = TITLES.get(type(error), "TinySR cannot do this"), str(error)
    else:
        title, hint = "TinySR failed", f"{type(error).__name__}: {error}."
    with contextlib.suppress(OSError):  # the client may be gone; the traceback is in the log
        _say(sink, type="error", kind=type(error).__name__, title=title, hint=hint)


if __name__ == "__main__":
    # without the interpreter's teardown, which takes torch 0.3 s
    status = main()
    sys.stderr.flush()
    os._exit(status)
