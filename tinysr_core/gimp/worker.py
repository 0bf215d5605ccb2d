"""The worker of the GIMP plug-in: `python -I -m tinysr_core.gimp.worker` enlarges pictures that it reads from stdin.

Protocol 3. Both sides send one JSON object per line, followed by raw pixels where it says so: native float32,
interleaved, row by row, non-linear values. Channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha (not premultiplied).

    worker  {"type": "hello", "protocol": 3, "version", "location",
             "models": [{"name", "scales", "description", "has_detail", "has_clean"}, ...],
             "damaged": [file name, ...]}
    client  {"protocol": 3, "type": "upscale", "width", "height", "channels", "result_width", "result_height",
             "model", "factor", "sharpen", "anti_alias", "detail" (default: 1),
             "clean" (default: what the picture needs)} and pixels
         or the same with "type": "preview" or "mask" and pixels
         or {"protocol": 3, "type": "resize", "width", "height", "channels", "result_width", "result_height"} and pixels
    worker  {"type": "progress", "done", "total"}, any number of times, then
            {"type": "done", "width", "height", "channels", "clipped", "networks"} and pixels
         or {"type": "error", "kind", "detail"}

* `upscale`: if the result has the size of the picture, the picture is enlarged by the network and reduced again.
* `preview`: the same, with the engine that is ready first. Others need seconds before the first run of a network.
* `mask`: the channels are coverages. The result is their product, one channel, enlarged as alpha is.
* `resize`: plain interpolation.
* `clipped`: whether values outside 0 to 1 were clipped.
* `networks`: the scales of the networks that ran one after the other. Empty if the first one reached the size.

Requests are answered one after the other. After an error in one request the worker continues; after a `ProtocolError`
or an `ImportError` it exits with status 1. When its stdin ends, the client is gone, and the worker exits at once, also
in the middle of a computation. This works on every system, however the client ended. stderr is free for messages.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it; see `util.threads`

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..engines import RunOptions, Upscaler, preload
from ..errors import MemoryLimitError, TinySRError
from ..model import DEFAULT_NAME, CheckpointInfo, list_checkpoints, list_files, model_name
from ..pipeline import enhance, enhance_mask
from ..postprocess import ExactSize, resize
from ..util import Progress
from .protocol import PROTOCOL, UPDATE, NetworkChoice, ProtocolError, Request, parse_request

MAX_LINE = 65536
"""The longest request line in bytes."""
STRIP_BYTES = 8 * 2**20
"""How much of a picture is on its way through the pipe at a time."""
LARGE_PICTURE = 24_000_000
"""From this many pixels on, the tiles are small."""
SMALL_TILE = 384
"""Side of these tiles in pixels: 170 MB less memory than with OpenVINO's own tiles, and 4 % more time."""
KEPT_NETWORKS = 4
"""How many networks stay loaded. A slider in the dialog requests many blends."""
ROUNDING = 1e-4
"""How far outside 0 to 1 a value may be after colours were converted from linear ones."""

Planes = NDArray[np.float32]
"""[1,C,H,W]"""


@dataclass(frozen=True)
class Answer:
    """The result of a request."""

    parts: Sequence[Planes]
    """The channels of the result: colours and alpha, each [1,C,result_height,result_width]."""
    networks: Sequence[int] = ()
    """The scales of the networks, if the first one did not reach the size."""


Compute = Callable[[Request, Planes, Progress], Answer]
"""`(request, planes [1,C,H,W], progress)` -> answer."""


def serve(source: BinaryIO, sink: BinaryIO, compute: Compute, client_gone: Callable[[], None]) -> int:
    """Answer the requests from `source` until it ends. If it ends during a computation, call `client_gone`.

    Returns the exit status: 0, or 1 after an error that ends the conversation.
    """
    inbox = _Inbox(source, client_gone)
    inbox.start()
    try:
        while (message := inbox.next()) is not None:
            try:
                _answer(*message, sink, compute)
            except (BrokenPipeError, ImportError):
                raise
            except Exception as error:
                traceback.print_exc()
                _say_error(sink, error)
            inbox.done()
        return 0
    except BrokenPipeError:
        return 1
    except Exception as error:  # tell the client, whatever it is
        traceback.print_exc()
        _say_error(sink, error)
        return 1


def _answer(request: Request, planes: Planes, sink: BinaryIO, compute: Compute) -> None:
    clipped = _make_displayable(planes)
    answer = compute(request, planes, lambda done, total: _say(sink, type="progress", done=done, total=total))
    height, width = answer.parts[0].shape[2:]
    channels = sum(part.shape[1] for part in answer.parts)
    size = {"width": width, "height": height, "channels": channels}
    _say(sink, type="done", **size, clipped=clipped, networks=list(answer.networks))
    for rows in _strips(height, width * channels):
        strip = np.concatenate([part[0, :, rows] for part in answer.parts])  # a second whole result would be too much
        sink.write(np.ascontiguousarray(strip.transpose(1, 2, 0), np.float32).data)
    sink.flush()


class Enlarger:
    """Computes requests with the networks of the catalog."""

    def __init__(self) -> None:
        self._upscalers: dict[tuple[Path, RunOptions], Upscaler] = {}

    def __call__(self, request: Request, planes: Planes, progress: Progress) -> Answer:
        """See `Compute`."""
        if request.network is None:
            return Answer([_at_size(planes, request.size)])
        if request.kind == "mask":
            planes = planes.prod(axis=1, keepdims=True)
            if request.size == planes.shape[2:]:
                return Answer([planes])
            upscaler = self._upscaler(request, request.network)
            return Answer([enhance_mask(upscaler, planes, request.size, progress=progress)])
        upscaler = self._upscaler(request, request.network)
        colours = 3 if request.channels > 2 else 1
        same_size = request.size == planes.shape[2:]
        size = None if same_size else ExactSize(request.result_width, request.result_height)
        colour, alpha = enhance(
            upscaler,
            planes[:, :colours],
            planes[:, colours:] if request.channels in (2, 4) else None,
            replace(request.finish, size=size),
            progress=progress,
        )
        parts = [colour] if alpha is None else [colour, alpha]
        factor = max(request.result_width / request.width, request.result_height / request.height)
        networks = upscaler.steps(factor) if factor > upscaler.scale else ()
        return Answer([_at_size(part, request.size) for part in parts], networks)

    def _upscaler(self, request: Request, wanted: NetworkChoice) -> Upscaler:
        is_large = request.width * request.height >= LARGE_PICTURE
        options = replace(wanted.options, tile=SMALL_TILE if is_large else None)
        key = options.find(wanted.model or DEFAULT_NAME, wanted.factor), options
        upscaler = self._upscalers.pop(key, None) or options.load(key[0])
        self._upscalers[key] = upscaler  # the last used is dropped last
        while len(self._upscalers) > KEPT_NETWORKS:
            del self._upscalers[next(iter(self._upscalers))]
        return upscaler


def main() -> int:
    """Serve stdin and stdout of this process; returns its exit status."""
    source = sys.stdin.buffer
    # What libraries print must not get into the protocol: from now on stdout is stderr.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr  # it is unbuffered, so the log is complete however the worker ends
    try:
        _say(sink, **_hello())
        preload()  # while the user reads the dialog
    except BrokenPipeError:
        return 1
    except Exception as error:
        traceback.print_exc()
        _say_error(sink, error)
        return 1
    return serve(source, sink, Enlarger(), client_gone=lambda: os._exit(1))


class _Inbox:
    """Reads requests in a thread, so that the end of the pipe is noticed during a computation."""

    def __init__(self, source: BinaryIO, client_gone: Callable[[], None]) -> None:
        self._source = source
        self._client_gone = client_gone
        self._messages: queue.Queue[tuple[Request, Planes] | Exception | None] = queue.Queue()

    def start(self) -> None:
        threading.Thread(target=self._read_all, daemon=True).start()

    def next(self) -> tuple[Request, Planes] | None:
        """Wait for a request; None at the end of the pipe."""
        message = self._messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    def done(self) -> None:
        """Tell that the last request is answered."""
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

    def _read(self) -> tuple[Request, Planes] | None:
        line = self._source.readline(MAX_LINE)
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise ProtocolError(f"A request line is cut off, or longer than {MAX_LINE} bytes; {UPDATE}")
        request = parse_request(line)
        planes = np.empty((1, request.channels, request.height, request.width), np.float32)
        for rows in _strips(request.height, request.width * request.channels):
            strip = np.empty((rows.stop - rows.start, request.width, request.channels), np.float32)
            self._fill(memoryview(strip.data).cast("B"))
            planes[0, :, rows] = strip.transpose(2, 0, 1)
        return request, planes

    def _fill(self, rest: memoryview) -> None:
        while rest:
            count = self._source.readinto(rest)  # type: ignore[attr-defined]  # every buffered stream has it
            if not count:
                raise ProtocolError(f"The pixels of a request end {len(rest)} bytes too early; {UPDATE}")
            rest = rest[count:]


def _strips(height: int, row_floats: int) -> Iterator[slice]:
    """The rows of a picture in strips of about `STRIP_BYTES`."""
    step = max(1, STRIP_BYTES // (row_floats * 4))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _make_displayable(planes: Planes) -> bool:
    """Clip `planes` to [0,1]; NaN becomes 0. Returns whether that clipped more than rounding errors."""
    low, high = planes.min(), planes.max()
    if low >= 0 and high <= 1:
        return False
    np.nan_to_num(planes, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(planes, 0, 1, out=planes)
    return not (low >= -ROUNDING and high <= 1 + ROUNDING)


def _at_size(planes: Planes, size: tuple[int, int]) -> Planes:
    """Interpolate `planes` if they have another size."""
    return planes if planes.shape[2:] == size else resize(planes, *size).clip(0, 1)


def _hello() -> dict[str, Any]:
    infos, errors = list_checkpoints()
    for error in errors:
        print(error, file=sys.stderr)
    usable = {info.path for info in infos}
    families: dict[str, list[CheckpointInfo]] = {}
    for info in infos:
        families.setdefault(model_name(info.path), []).append(info)
    models = [
        {
            "name": name,
            "scales": sorted(info.config.scale for info in family),
            "description": str(family[0].card.get("description", "")),
            "has_detail": any("twin" in info.card for info in family),
            "has_clean": any("photo" in info.card for info in family),
        }
        for name, family in families.items()
    ]
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "version": __version__,
        "location": str(Path(__file__).parents[1]),
        "models": models,
        "damaged": [path.name for path in list_files() if path not in usable],
    }


def _say(sink: BinaryIO, **message: Any) -> None:
    sink.write(json.dumps(message).encode() + b"\n")
    sink.flush()


def _say_error(sink: BinaryIO, error: Exception) -> None:
    if isinstance(error, MemoryError):
        error = MemoryLimitError("Memory ran out; close other programs, or enlarge a smaller part of the picture.")
    kind = "ImportError" if isinstance(error, ImportError) else type(error).__name__
    detail = str(error) if isinstance(error, (TinySRError, ImportError)) else f"{kind}: {error}"
    with contextlib.suppress(OSError):  # the client may be gone; the traceback is in the log
        _say(sink, type="error", kind=kind, detail=detail)


if __name__ == "__main__":
    # skip the teardown of the interpreter, which takes 0.3 s with torch
    status = main()
    sys.stderr.flush()
    os._exit(status)
