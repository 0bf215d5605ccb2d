"""How a network is run, and the upscaler that runs it so."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import CheckpointError, RequestError
from ..model import (
    DEFAULT_NAME,
    Relation,
    cache_folder,
    find_checkpoint,
    find_exactly,
    find_relative,
    has_photo,
    load_checkpoint,
    read_info,
)
from .engine import EngineName, Precision
from .select import load_engine
from .upscaler import AutoUpscaler, Upscaler

FOLLOWER, FOLLOWER_SCALE = "fidelity", 2
"""Measured against a plain resize: docs/how-it-works.md, "Beyond ×4"."""


@dataclass(frozen=True)
class RunOptions:
    """How a network is run. The options change speed and memory; only `detail`,
    `clean` and `precision` change the result."""

    detail: float = 1.0
    """Blend the model with its faithful twin: 0 keeps closest to the pixels, 1 is the model as it is."""
    clean: float | Literal["auto"] = "auto"
    """Blend the model with its photo network, which removes JPEG blocks and noise: 0 is none of it, 1 is all; auto is
    what each picture needs (`images.choose_clean`), and 0 where the model has no photo network."""
    engine: EngineName = "auto"
    """What runs the network; auto takes torch on a GPU, and on a CPU OpenVINO if it is installed."""
    device: str = "auto"
    """Where the network runs; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Precision of the network; auto is what is fast where it runs and as good as fp32 (table: docs/speed.md)."""
    tile: int | None = None
    """Side of the tiles in pixels of the input; None: what suits the engine. It never changes the result."""

    def load(self, path: Path) -> Upscaler:
        """The upscaler that runs the checkpoint at `path` so, and beyond its scale is followed by `follower`.

        Raises:
            CheckpointError: the file is not a TinySR checkpoint, or lacks what it is blended with.
            RequestError: the engine, the device, the precision, the tile, the detail or clean cannot be used.
        """
        if self.clean == "auto" and has_photo(read_info(path)):
            return AutoUpscaler(lambda clean: replace(self, clean=clean).load(path))
        checkpoint = load_checkpoint(path, self.detail, 0 if self.clean == "auto" else self.clean)
        engine = load_engine(checkpoint, self.engine, self.device, self.precision, cache_folder())
        return Upscaler(engine, self.tile, self.follower)

    def files(self, path: Path) -> set[Path]:
        """The checkpoints whose weights `load(path)` may use, `path` among them.

        Raises:
            CheckpointError: the file is not a TinySR checkpoint.
        """
        info = read_info(path)
        found = {path}
        relatives: dict[Relation, bool] = {"twin": self.detail < 1, "photo": self.clean != 0}
        for relation, used in relatives.items():
            if used:
                with suppress(CheckpointError):  # loading says what is missing
                    found.add(find_relative(info, relation))
        with suppress(CheckpointError, RequestError):
            found.add(find_exactly(FOLLOWER, FOLLOWER_SCALE))
        return found

    def follower(self) -> Upscaler | None:
        """What doubles a network's result: fidelity ×2, which adds no texture to texture; None where it is missing."""
        try:
            path = find_exactly(FOLLOWER, FOLLOWER_SCALE)
        except (CheckpointError, RequestError):
            return None
        return replace(self, detail=1.0, clean=0).load(path)


def load_upscaler(
    model: str | Path = DEFAULT_NAME,
    *,
    scale: float = 2,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    tile: int | None = None,
    detail: float = 1.0,
    clean: float | Literal["auto"] = "auto",
) -> Upscaler:
    """The upscaler for a checkpoint. `RunOptions` explains the other arguments.

    Args:
        model: the path of a checkpoint, or a name that `tinysr models` lists.
        scale: which of the checkpoints of that name: the one that enlarges so many times, or the next larger one.

    Raises:
        CheckpointError: nothing has this name, the file is not a TinySR checkpoint, or lacks what it is blended with.
        RequestError: the engine, the device, the precision, the tile, the detail or clean cannot be used.
    """
    path = model if isinstance(model, Path) else find_checkpoint(model, scale)
    return RunOptions(detail, clean, engine, device, precision, tile).load(path)
