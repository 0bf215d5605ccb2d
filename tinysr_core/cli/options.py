"""Options that several commands share, as flags. Every field of `RunOptions` becomes a flag."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, arg

from ..engines import RunOptions

CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone)
"""How tyro turns dataclasses into flags: without the names of groups as prefixes."""
Flag = FlagCreatePairsOff[bool]
Json = Annotated[Flag, arg(name="json", help="Print JSON on stdout, for scripts.")]
DETAIL_HELP = "Blend the model with its faithful twin: 0 keeps closest to the pixels, 1 is the model as it is."

CLEAN_HELP = "Blend the model with its photo network, which removes JPEG blocks and noise: 0 is none, 1 is all of it"


@dataclass(frozen=True)
class RunFlags(RunOptions):
    """How the network is run."""

    detail: Annotated[float, arg(metavar="0...1", help=DETAIL_HELP)] = RunOptions.detail
    clean: Annotated[
        float | Literal["auto"], arg(metavar="auto|0...1", help=f"{CLEAN_HELP}; auto chooses per picture.")
    ] = RunOptions.clean
    device: Annotated[str, arg(metavar="auto|cpu|cuda")] = RunOptions.device
    """Where the network runs; auto takes a GPU if there is one."""
    tile: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: what suits the engine)")] = None
    """Side of the tiles in pixels of the input. It changes memory and speed, never the result."""

    def plain(self) -> RunOptions:
        """The options as plain `RunOptions`."""
        return RunOptions(**{field.name: getattr(self, field.name) for field in fields(RunOptions)})


@dataclass(frozen=True)
class ShowFlags:
    """What is reported."""

    dry_run: Annotated[Flag, arg(aliases=["-n"])] = False
    """Only show what would be done, and about how long it would take."""
    quiet: Annotated[Flag, arg(aliases=["-q"])] = False
    """Report errors only."""
    verbose: Annotated[Flag, arg(aliases=["-v"])] = False
    """Also report settings, skipped files, the notes of each picture, and warnings of libraries."""
    json: Json = False
