"""The options for running a network, and `load_upscaler`."""

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from ..errors import CheckpointError, RequestError
from ..model import (
    DEFAULT_NAME,
    Relation,
    cache_folder,
    find_checkpoint,
    find_cleanable,
    find_exactly,
    find_relative,
    load_checkpoint,
    model_name,
    read_info,
)
from .engine import EngineName, Precision
from .select import load_engine
from .upscaler import AutoUpscaler, Upscaler

FOLLOWER, FOLLOWER_SCALE = "fidelity", 2
"""The network that enlarges beyond a network's scale. Compared with a plain resize in docs/how-it-works.md, "Beyond
×4"."""


@dataclass(frozen=True)
class RunOptions:
    """The options for running a network. Only `detail`, `clean` and `precision` change the result; the others change
    speed and memory."""

    detail: float = 1.0
    """0 to 1, blends the model with its faithful twin: 0 is closest to the pixels, 1 is the model as it is."""
    clean: float | Literal["auto"] = "auto"
    """0 to 1, blends the model with its photo network, which removes JPEG blocks and noise: 0 is the model as it is, 1
    the photo network. auto chooses for each picture (`images.choose_clean`), and is 0 if the model has no photo
    network. At a scale without a photo network, the next smaller scale that has one is used, and the follower."""
    engine: EngineName = "auto"
    """The runtime; auto is torch on a GPU, and on a CPU OpenVINO if it is installed, else torch."""
    device: str = "auto"
    """auto, cpu or a device name of torch; auto is a GPU if there is one."""
    precision: Precision = "auto"
    """Precision of the network; auto is the fastest one that is as good as fp32 on the device (table:
    docs/speed.md)."""
    tile: int | None = None
    """Side of the tiles in LR pixels; None: the engine's default."""

    def find(self, model: str, factor: float) -> Path:
        """The checkpoint of `model`, a name or path, for an enlargement of `factor` (see `find_checkpoint`). A given
        amount of `clean` needs a photo network, so the scale of a name is then one that has it.

        Raises:
            CheckpointError: nothing has this name.
        """
        path = find_checkpoint(model, factor)
        if self.clean in (0, "auto") or model != model_name(path):
            return path
        return find_cleanable(path) or path

    def load(self, path: Path) -> Upscaler:
        """The upscaler for the checkpoint at `path`. Beyond its scale, it continues with `follower`.

        Raises:
            CheckpointError: the file is not a TinySR checkpoint, or a relative to blend it with is missing.
            RequestError: an option has an invalid value, or the device or the precision is not available.
        """
        if self.clean == "auto" and (cleanable := find_cleanable(path)):
            return AutoUpscaler(lambda clean: replace(self, clean=clean).load(cleanable if clean else path))
        checkpoint = load_checkpoint(path, self.detail, 0 if self.clean == "auto" else self.clean)
        engine = load_engine(checkpoint, self.engine, self.device, self.precision, cache_folder())
        return Upscaler(engine, self.tile, self.follower)

    def files(self, path: Path) -> set[Path]:
        """The checkpoint files that `load(path)` may read, `path` included.

        Raises:
            CheckpointError: the file is not a TinySR checkpoint.
        """
        found = {path, (self.clean != 0 and find_cleanable(path)) or path}
        relatives: dict[Relation, bool] = {"twin": self.detail < 1, "photo": self.clean != 0}
        for info, (relation, used) in product([read_info(file) for file in found], relatives.items()):
            if used:
                with suppress(CheckpointError):  # `load` reports missing files
                    found.add(find_relative(info, relation))
        with suppress(CheckpointError, RequestError):
            found.add(find_exactly(FOLLOWER, FOLLOWER_SCALE))
        return found

    def follower(self) -> Upscaler | None:
        """The upscaler that doubles the result of another one: fidelity ×2, which adds no second layer of texture. None
        if its file is missing."""
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
    """The upscaler for a checkpoint. The other arguments are fields of `RunOptions`.

    Args:
        model: the path of a checkpoint, or a name that `tinysr models` lists.
        scale: chooses among the checkpoints of that name: the one with this scale, or else the next larger one.

    Raises:
        CheckpointError: no checkpoint has this name, the file is not a TinySR checkpoint, or a relative to blend it
            with is missing.
        RequestError: an option has an invalid value, or the device or the precision is not available.
    """
    options = RunOptions(detail, clean, engine, device, precision, tile)
    return options.load(model if isinstance(model, Path) else options.find(model, scale))
