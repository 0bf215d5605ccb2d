"""Checkpoint files: safetensors with the tensors of one network, and its config and model card in the header.

Needs no torch.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import CheckpointError
from ..util import atomic_write
from .config import ModelConfig

FORMAT = "tinysr"
VERSION = "1"
DTYPES = {"F16", "F32", "F64"}
"""The dtypes that are read, as safetensors names them."""
Card = Mapping[str, Any]
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class CheckpointInfo:
    """The header of a checkpoint."""

    path: Path
    config: ModelConfig
    card: Card
    """The model card: title, description, licence, data, recipe, figures. Empty if the file has no metadata."""


@dataclass(frozen=True)
class Checkpoint(CheckpointInfo):
    """A whole checkpoint."""

    tensors: Tensors
    """float32 arrays by name; names and shapes are those of `config.shapes`."""
    sha256: str
    """SHA-256 of the file; for a blend, of the hashes and shares that it was made from."""


def read_info(path: Path) -> CheckpointInfo:
    """Read the header alone.

    Raises:
        CheckpointError: the file is not a TinySR checkpoint of this version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # `file` itself is not iterable
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}; check its name, or choose another checkpoint.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file ({error}); download it again. Pickled .pth files are not read, "
            "because they can run code."
        ) from error
    version = header.get("version")
    if header.get("format") == FORMAT and version != VERSION:
        raise CheckpointError(f"{path} has format version {version}, but this TinySR reads {VERSION}; update TinySR.")
    try:
        config = ModelConfig.from_shapes(shapes)
        if "config" in header:
            stated = ModelConfig(**json.loads(header["config"]))
            config = stated if stated.shapes == shapes else config
        card = json.loads(header.get("card", "{}"))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"The header of {path} is damaged ({error}); download the file again.") from error
    return CheckpointInfo(path, config, card)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read header and tensors.

    Raises:
        CheckpointError: the file is not a TinySR checkpoint of this version, or has NaN or infinite values.
    """
    info = read_info(path)
    try:
        with safe_open(path, framework="numpy") as file:
            kinds = {file.get_slice(name).get_dtype() for name in info.config.shapes}
            if unknown := kinds - DTYPES:
                raise CheckpointError(f"{path} has values of type {min(unknown)}; cast them to float32 or float16.")
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in info.config.shapes}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a valid safetensors file ({error}); download it again.") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{path} has NaN or infinite values in {name}; download the file again.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Checkpoint(info.path, info.config, info.card, tensors, digest)


def write_checkpoint(path: Path, config: ModelConfig, tensors: Tensors, card: Card) -> None:
    """Write a checkpoint atomically. The same input gives the same bytes.

    Args:
        path: the file to write.
        config: the network.
        tensors: arrays by name, with the names and shapes of `config.shapes`.
        card: the model card. Its `title`, `description`, `author`, `license` and `date` are also written under the
            `modelspec.` names that model browsers show.

    Raises:
        ValueError: names or shapes differ from those of `config`.
        OSError: the file cannot be written.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != config.shapes:
        raise ValueError(f"tensors do not fit {config}")
    shown = ("title", "description", "author", "license", "date")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(dataclasses.asdict(config)),
        "card": json.dumps(card, sort_keys=True),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "tinysr",
        **{f"modelspec.{key}": str(card[key]) for key in shown if key in card},
    }
    with atomic_write(path) as temporary:
        arrays = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
        temporary.write_bytes(_with_sorted_header(save(arrays, header)))


def weights_digest(tensors: Tensors) -> str:
    """SHA-256 of the tensors alone. It does not change when only the card of a checkpoint is rewritten."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name], np.float32).data)
    return digest.hexdigest()


def _with_sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header sorted: the library's own order differs every time."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[start:]
