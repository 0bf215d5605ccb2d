"""The options `detail` and `clean`: a checkpoint blended with its relatives. Needs no torch.

If networks were fine-tuned from one another, every weighted mean of their weights is a network too, with properties in
between (Wang et al. 2018, "network interpolation"; here with larger norms, see `mixed`). A checkpoint names its
relatives in its card: its faithful twin under `twin`, and the network for compressed and noisy photographs under
`photo`. `detail` interpolates from the twin to the checkpoint, and `clean` from there to the photo network. The blend
is made once, when the network is loaded, and costs nothing at run time.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import CheckpointError, RequestError
from .catalog import SUFFIX, list_files
from .checkpoint import Checkpoint, CheckpointInfo, read_checkpoint, read_info

Relation = Literal["twin", "photo"]
RELATIVES: dict[Relation, tuple[str, str]] = {
    "twin": ("faithful twin", "leave the detail at 1"),
    "photo": ("photo network", "leave clean at auto or 0"),
}
"""What messages call a relative, and the option value that does not need it."""

NORM_RESTORED = 1 / 3
"""How far `mixed` restores the norms of blended kernels: 0 not at all, 1 completely."""


def load_checkpoint(path: Path, detail: float = 1.0, clean: float = 0.0) -> Checkpoint:
    """Read the checkpoint at `path` and blend it with its relatives.

    Args:
        path: the checkpoint.
        detail: 0 to 1. 0 is the twin, 1 the checkpoint as it is.
        clean: 0 to 1. 0 is the blend that `detail` makes, 1 the photo network.

    Raises:
        CheckpointError: a file is damaged or missing, or the checkpoint has no such relative.
        RequestError: `detail` or `clean` is not between 0 and 1.
    """
    for name, value in (("detail", detail), ("clean", clean)):
        if not 0 <= value <= 1:
            raise RequestError(f"{name} must be between 0 and 1, not {value:g}.")
    checkpoint = read_checkpoint(path)
    shares = [(checkpoint, detail * (1 - clean))]
    if detail < 1 and clean < 1:
        shares.append((read_checkpoint(find_relative(checkpoint, "twin")), (1 - detail) * (1 - clean)))
    if clean > 0:
        shares.append((read_checkpoint(find_relative(checkpoint, "photo")), clean))
    return blend(shares)


def find_relative(info: CheckpointInfo, relation: Relation) -> Path:
    """The file of a relative: beside the checkpoint, or one that `catalog.list_files` lists.

    Raises:
        CheckpointError: the card names no such relative, or its file is missing.
    """
    called, remedy = RELATIVES[relation]
    name = info.card.get(relation)
    if not isinstance(name, str):
        raise CheckpointError(f"{info.path.stem} has no {called} to blend with; {remedy}, or choose another model.")
    for path in [info.path.with_name(Path(name).name + SUFFIX), *list_files()]:
        if path.stem == name and path.is_file():
            return path
    raise CheckpointError(
        f"{name}{SUFFIX}, the {called} of {info.path.stem}, is missing; put it beside {info.path}, or {remedy}."
    )


def has_photo(info: CheckpointInfo) -> bool:
    """Whether `clean` can be more than 0: the card names a photo network, its file exists, and the configs agree."""
    try:
        return read_info(find_relative(info, "photo")).config == info.config
    except CheckpointError:
        return False


def find_cleanable(path: Path) -> Path | None:
    """The checkpoint at `path` if it has a photo network, or else the one beside it of the same model, with the next
    smaller scale, that has one. None if there is none.

    Raises:
        CheckpointError: a file is not a TinySR checkpoint.
    """
    info = read_info(path)
    if has_photo(info):
        return path
    mark = f"-x{info.config.scale}"
    if path.stem.endswith(mark):
        for scale in range(info.config.scale - 1, 1, -1):
            smaller = path.with_name(f"{path.stem.removesuffix(mark)}-x{scale}{SUFFIX}")
            if smaller.is_file() and has_photo(read_info(smaller)):
                return smaller
    return None


def relatives_of_descendant(base: CheckpointInfo) -> dict[Relation, str]:
    """What the card of a checkpoint fine-tuned from `base` names: the relatives of `base`, or `base` as its twin."""
    inherited: dict[Relation, str] = {"twin": base.card.get("twin", base.path.stem)}
    if "photo" in base.card:
        inherited["photo"] = base.card["photo"]
    return inherited


def blend(shares: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """The first checkpoint, with the tensors of all checkpoints mixed by their shares. Shares add up to 1.

    Raises:
        CheckpointError: the networks differ in size or scale.
    """
    first = shares[0][0]
    used = [(checkpoint, share) for checkpoint, share in shares if share]
    for checkpoint, _ in used:
        if checkpoint.config != first.config:
            raise CheckpointError(
                f"{first.path.stem} and its relative {checkpoint.path} are networks of different size or scale; "
                "replace that file, or leave detail and clean out."
            )
    if len(used) == 1:
        return dataclasses.replace(first, tensors=used[0][0].tensors, sha256=used[0][0].sha256)
    tensors = {name: mixed([(c.tensors[name], share) for c, share in used]) for name in first.tensors}
    parts = [f"{c.sha256} {share!r}" for c, share in used]
    digest = hashlib.sha256(" ".join([*parts, f"norm {NORM_RESTORED}"]).encode()).hexdigest()
    return dataclasses.replace(first, tensors=tensors, sha256=digest)


def mixed(shares: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """The sum of float32 tensors of one shape, each times its share. A kernel [I,k,k] of a conv [O,I,k,k] gets back a
    part of the norm that it loses if the kernels differ.

    The mean of different kernels is shorter than they are. Over the layers, this adds up, and the blend would draw
    less detail than both networks. The norm of a kernel is multiplied by (m / n)**NORM_RESTORED, where n is its norm
    and m the mean of those of its parts, weighted by their shares.
    """
    mix = np.sum([share * tensor.astype(np.float64) for tensor, share in shares], axis=0)
    if mix.ndim == 4:
        own, mean = _norms(mix), np.sum([share * _norms(tensor) for tensor, share in shares], axis=0)
        factor = np.divide(mean, own, out=np.ones_like(own), where=own > 0)
        mix *= factor[:, None, None, None] ** NORM_RESTORED
    return mix.astype(np.float32)


def _norms(kernels: np.ndarray) -> np.ndarray:
    """The norms [O] of kernels [O,I,k,k]. In float64, so that a blend is the same on all processors."""
    return np.linalg.norm(kernels.reshape(len(kernels), -1).astype(np.float64), axis=1)
