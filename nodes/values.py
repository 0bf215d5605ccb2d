"""Checks the inputs of a node against its `INPUT_TYPES`.

ComfyUI checks values that are typed in, but not those that come through a link.
"""

import inspect
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.errors import RequestError


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a node's function reject values that its widgets would not accept, and tensors that are no pictures.

    Floats that are whole numbers are converted to ints.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        inputs = self.INPUT_TYPES()
        for name, (kind, *options) in {**inputs["required"], **inputs.get("optional", {})}.items():
            if bound.arguments.get(name) is not None:
                bound.arguments[name] = check(name, kind, options[0] if options else {}, bound.arguments[name])
        return function(*bound.args, **bound.kwargs)

    return run


def check(name: str, kind: str | list[str], options: dict[str, Any], value: Any) -> Any:
    """`value`, converted to what an input of `kind` holds.

    Raises:
        RequestError: it has another type, or is out of range.
    """
    if isinstance(kind, list):
        if value not in kind:
            raise RequestError(f"{name} is {value!r}. Choose one of: {', '.join(kind)}.")
    elif kind in ("INT", "FLOAT"):
        return _number(name, kind, options, value)
    elif kind == "BOOLEAN":
        if not isinstance(value, bool | int):
            raise RequestError(f"{name} is {value!r}. Connect true or false.")
    elif kind == "STRING":
        if not isinstance(value, str):
            raise RequestError(f"{name} is {value!r}. Connect a text.")
    elif kind == "IMAGE":
        _tensor(name, kind, value, dims=(4,), layout="[batch, height, width, channels]")
    elif kind == "MASK":
        _tensor(name, kind, value, dims=(2, 3), layout="[batch, height, width]")
    return value


def _number(name: str, kind: str, options: dict[str, Any], value: Any) -> int | float:
    least, most = options["min"], options["max"]
    numeric = isinstance(value, int | float) and math.isfinite(value)
    if not numeric or not least <= value <= most or (kind == "INT" and value % 1):
        whole = "whole " if kind == "INT" else ""
        raise RequestError(f"{name} is {value!r}. Use a {whole}number from {least:g} to {most:g}.")
    return int(value) if kind == "INT" else float(value)


def _tensor(name: str, kind: str, value: Any, dims: tuple[int, ...], layout: str) -> None:
    if not isinstance(value, Tensor):
        raise RequestError(f"{name} is of type {type(value).__name__}. Connect one of type {kind}.")
    if value.ndim not in dims or 0 in value.shape[1 if kind == "IMAGE" else 0 :]:  # a batch may have no frames
        raise RequestError(f"{name} has the shape {list(value.shape)}. Connect {layout} with at least one pixel.")
    if not value.dtype.is_floating_point and value.dtype != torch.bool:
        raise RequestError(f"{name} holds {str(value.dtype).removeprefix('torch.')}. Connect floats from 0 to 1.")
