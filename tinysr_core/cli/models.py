"""`tinysr models`."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..model import DEFAULT_NAME, CheckpointInfo, list_checkpoints, model_name
from .options import Json
from .terminal import say


@dataclass(frozen=True)
class Models:
    """List the available models: the shipped ones and those in ~/.tinysr/models.

    Example: tinysr models
    """

    json: Json = False

    def run(self) -> int:
        infos, errors = list_checkpoints()
        if self.json:
            print(json.dumps([model_facts(info) for info in infos], indent=2))
        else:
            _show(infos)
        for error in errors:
            say(f"tinysr: {error}")
        return 0


def _show(infos: Sequence[CheckpointInfo]) -> None:
    """Print a table of the checkpoints."""
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "scale", "network", "parameters")
    table.add_column("file", overflow="fold")
    for info in infos:
        name = model_name(info.path)
        table.add_row(
            f"{name} (default)" if name == DEFAULT_NAME else name,
            f"x{info.config.scale}",
            f"{info.config.channels} x {info.config.blocks}",
            f"{info.config.parameters:,}",
            info.path.name,
        )
    Console().print(table if infos else "There are no models; put checkpoints into ~/.tinysr/models.")


def model_facts(info: CheckpointInfo) -> dict[str, Any]:
    """The facts of a checkpoint, for `info` and `models`."""
    return {
        "name": model_name(info.path),
        "path": str(info.path),
        "parameters": info.config.parameters,
        **dataclasses.asdict(info.config),
        "card": dict(info.card),
    }
