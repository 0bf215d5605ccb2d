"""Methods that `evaluate` can measure: our checkpoints with their options, and other networks through spandrel."""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ..engines import RunOptions, inference
from ..errors import CheckpointError, RequestError
from ..images import Pixels8
from ..model import find_exactly
from ..pipeline import enhance
from ..postprocess import Finish
from .table import Method, to_8_bits, to_float

DEFAULT_OPTIONS = RunOptions(clean=0)
FINISHES = ("sharpen", "aa")
"""Post-processing steps that can follow a model's name: `portrait+sharpen+aa`."""


def by_name(methods: Iterable[tuple[str, Method]]) -> dict[str, Method]:
    """Methods by their names in the table. Raises RequestError if two have the same name."""
    named: dict[str, Method] = {}
    for name, method in methods:
        if name in named:
            raise RequestError(f"Two networks are called {name}; rename a file, or leave one of them out.")
        named[name] = method
    return named


def network(model: str, scale: int, options: RunOptions = DEFAULT_OPTIONS) -> tuple[str, Method]:
    """The name in the table and the method for `model`: a name or path, which `+sharpen` and `+aa` may follow.

    Raises:
        CheckpointError: the model is unknown or damaged, or lacks a relative that `options` blends it with.
        RequestError: the device, the engine or the precision cannot be used, or the model has another scale.
    """
    name, finishes = _without_finishes(model)
    path = find_exactly(name, scale)
    upscaler = options.load(path)
    finish = Finish(sharpen="sharpen" in finishes, anti_alias="aa" in finishes)

    def run(lr: Pixels8) -> Pixels8:
        return to_8_bits(enhance(upscaler, to_float(lr), finish=finish)[0])

    title = "+".join([path.stem, *(name for name in FINISHES if name in finishes)])
    marks = [f"detail {options.detail:g}"] * (options.detail != 1)
    marks += [f"clean {options.clean}"] * (options.clean != 0)
    marks += [options.precision] * (options.precision not in ("auto", "fp32"))
    return f"{title} ({', '.join(marks)})" if marks else title, run


def spandrel_network(path: Path, scale: int, device: str = "auto") -> tuple[str, Method]:
    """The name in the table and the method for any single-image network that spandrel supports, without tiles.

    The file is safetensors or a pickle of weights alone; reading it runs no code from it.

    Raises:
        RequestError: spandrel is missing, or the network is of another scale or kind.
        CheckpointError: the file cannot be read, or spandrel does not support the network.
    """
    spandrel = _spandrel()
    state = _read_state(path)
    try:
        descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(state)
    except Exception as error:  # spandrel's own error has no text; odd tensors can raise anything
        raise CheckpointError(f"spandrel does not support the network in {path}; choose another file.") from error
    channels = getattr(descriptor, "input_channels", None), getattr(descriptor, "output_channels", None)
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels != (3, 3):
        raise RequestError(f"The network in {path} does not map an RGB picture to an RGB picture; choose another file.")
    if descriptor.scale != scale:
        raise RequestError(f"The network in {path} enlarges {descriptor.scale} times, not {scale}; choose another one.")
    place = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
    descriptor.to(place).eval()

    def run(lr: Pixels8) -> Pixels8:
        with inference():
            return to_8_bits(descriptor(torch.from_numpy(to_float(lr)).to(place)).cpu().numpy())

    return path.stem, run


def _spandrel() -> Any:
    if find_spec("spandrel") is None:
        raise RequestError("Measuring other networks needs the package spandrel; `pip install spandrel` adds it.")
    try:
        return import_module("spandrel")
    except Exception as error:  # RuntimeError, if torchvision was built for another torch
        raise RequestError(
            f"The package spandrel cannot be imported ({error}); install the torchvision for this torch."
        ) from error


def _without_finishes(model: str) -> tuple[str, frozenset[str]]:
    """Split `portrait+sharpen+aa` into the model's name and the steps that follow it."""
    name, finishes = model, frozenset[str]()
    while (parts := name.rpartition("+"))[2] in FINISHES and parts[0]:
        name, finishes = parts[0], finishes | {parts[2]}
    return name, finishes


def _read_state(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # torch, pickle, zip and safetensors raise many kinds
        raise CheckpointError(
            f"{path} is damaged, or holds more than plain weights, which could run code; give a .safetensors file or a "
            ".pth file of weights alone."
        ) from error
