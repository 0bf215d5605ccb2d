"""The requests that the worker accepts, checked field by field."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..engines import EngineName, RunOptions
from ..errors import TinySRError
from ..postprocess import STEPS, Finish

PROTOCOL = 3
MAX_SIDE = 524288
"""The longest side of an image in GIMP, in pixels."""
UPDATE = "install the plug-in of this version with `tinysr gimp install`."
"""What to do if the two sides do not understand each other."""


class ProtocolError(TinySRError):
    """The client sent something that is not a request."""


@dataclass(frozen=True)
class NetworkChoice:
    """Which network upscales a picture, and how."""

    model: str
    """A name or path for `model.find_checkpoint`; empty for the default."""
    factor: float
    """The network is chosen for this enlargement."""
    options: RunOptions


@dataclass(frozen=True)
class Request:
    """One picture to enlarge."""

    kind: Literal["upscale", "preview", "mask", "resize"]
    width: int
    height: int
    channels: int
    result_width: int
    result_height: int
    network: NetworkChoice | None
    """None means plain interpolation."""
    finish: Finish
    """The steps after the resize. The size is in `result_width` and `result_height`."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.result_height, self.result_width


def parse_request(line: bytes) -> Request:
    """Check one request line.

    Raises:
        ProtocolError: it is not JSON, or a name, type or value is wrong.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"A request is not JSON ({error}); {UPDATE}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(f"A request is not an object; {UPDATE}")
    take = _Fields(fields)
    if (protocol := take.integer("protocol", 0, 2**31)) != PROTOCOL:
        raise ProtocolError(f"The plug-in speaks protocol {protocol}, this TinySR {PROTOCOL}; {UPDATE}")
    kind = take.text("type")
    if kind not in ("upscale", "preview", "mask", "resize"):
        raise ProtocolError(f"A request has the unknown type {kind!r}; {UPDATE}")
    request = Request(
        kind=kind,
        width=take.integer("width", 1, MAX_SIDE),
        height=take.integer("height", 1, MAX_SIDE),
        channels=take.integer("channels", 1, 4),
        result_width=take.integer("result_width", 1, MAX_SIDE),
        result_height=take.integer("result_height", 1, MAX_SIDE),
        network=None if kind == "resize" else _network(take, "torch" if kind == "preview" else "auto"),
        finish=Finish() if kind == "resize" else _finish(take),
    )
    take.finish()
    return request


def _network(take: "_Fields", engine: EngineName) -> NetworkChoice:
    clean = take.share("clean") if take.has("clean") else "auto"
    options = RunOptions(detail=take.share("detail", default=1.0), clean=clean, engine=engine)
    return NetworkChoice(take.text("model"), take.factor("factor"), options)


def _finish(take: "_Fields") -> Finish:
    return replace(Finish(), **{name: take.flag(name) for name in STEPS})


class _Fields:
    """Takes the fields of a request one by one, each checked."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def integer(self, name: str, low: int, high: int) -> int:
        value = self._take(name)
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"{name} must be a whole number from {low} to {high}; {UPDATE}")
        return value

    def factor(self, name: str) -> float:
        value = self._take(name)
        if type(value) not in (int, float) or not 0 < value <= MAX_SIDE or not math.isfinite(value):
            raise ProtocolError(f"{name} must be a number above 0; {UPDATE}")
        return float(value)

    def has(self, name: str) -> bool:
        return name in self._fields

    def share(self, name: str, default: float | None = None) -> float:
        value = self._take(name) if default is None or self.has(name) else default
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ProtocolError(f"{name} must be a number from 0 to 1; {UPDATE}")
        return float(value)

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str):
            raise ProtocolError(f"{name} must be text; {UPDATE}")
        return value

    def flag(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            raise ProtocolError(f"{name} must be true or false; {UPDATE}")
        return value

    def finish(self) -> None:
        if self._fields:
            raise ProtocolError(f"A request has the unknown field {min(self._fields)!r}; {UPDATE}")

    def _take(self, name: str) -> Any:
        if name not in self._fields:
            raise ProtocolError(f"A request lacks {name}; {UPDATE}")
        return self._fields.pop(name)
