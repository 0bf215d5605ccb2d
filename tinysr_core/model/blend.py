"""The detail slider: a checkpoint blended with its twin. Needs no torch.

A perceptual network that was fine-tuned from a faithful one lies so close to it that every blend of their weights is a
network in between (Wang et al. 2018, "network interpolation"). The blend is made once, when the network is loaded, and
runs as fast as either. The twin is the faithful one; the card of the other names its file under `twin`.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, RequestError
from .catalog import SUFFIX, list_files
from .checkpoint import Checkpoint, CheckpointInfo, read_checkpoint


def load_checkpoint(path: Path, detail: float = 1.0) -> Checkpoint:
    """The checkpoint at `path`, blended with its twin: `detail` 0 is the twin, 1 the checkpoint as it is.

    Raises:
        CheckpointError: a file is damaged or missing, or the checkpoint has no twin and `detail` is below 1.
        RequestError: `detail` does not lie between 0 and 1.
    """
    if not 0 <= detail <= 1:
        raise RequestError(f"The detail must lie between 0 and 1, not {detail:g}.")
    checkpoint = read_checkpoint(path)
    return checkpoint if detail == 1 else blend(read_checkpoint(find_twin(checkpoint)), checkpoint, detail)


def find_twin(info: CheckpointInfo) -> Path:
    """The file of the twin: beside the checkpoint, or among the files of `catalog.list_files`.

    Raises:
        CheckpointError: the card names none, or one that is not there.
    """
    name = info.card.get("twin")
    if not isinstance(name, str):
        raise CheckpointError(
            f"{info.path.stem} has no faithful twin to blend with; leave the detail at 1, or choose another model."
        )
    for path in [info.path.with_name(Path(name).name + SUFFIX), *list_files()]:
        if path.stem == name and path.is_file():
            return path
    raise CheckpointError(
        f"The twin of {info.path.stem} is {name}{SUFFIX}, which is not there; put it beside {info.path}, or leave the "
        "detail at 1."
    )


def twin_of_descendant(base: CheckpointInfo) -> str:
    """What a checkpoint that is fine-tuned from `base` names as its twin: the twin of `base`, or `base` itself."""
    return base.card.get("twin", base.path.stem)


def blend(twin: Checkpoint, checkpoint: Checkpoint, detail: float) -> Checkpoint:
    """`checkpoint` with the weights (1 - detail) * twin + detail * checkpoint.

    Raises:
        CheckpointError: they are networks of different kinds.
    """
    if twin.config != checkpoint.config:
        raise CheckpointError(
            f"{checkpoint.path.stem} and its twin {twin.path} are networks of different size or scale; leave the "
            "detail at 1, or put the right twin there."
        )
    share = np.float32(detail)
    tensors = {name: (1 - share) * twin.tensors[name] + share * own for name, own in checkpoint.tensors.items()}
    digest = hashlib.sha256(f"{twin.sha256} {checkpoint.sha256} {detail!r}".encode()).hexdigest()
    return dataclasses.replace(checkpoint, tensors=tensors, sha256=digest)
