"""The command line, `tinysr`. Each command is a dataclass whose fields are its options, in a file of its own.

Results that scripts read go to stdout, everything else to stderr. Exit status: 0 all is well, 1 something failed or was
refused, 2 the command line makes no sense, 130 stopped by Ctrl-C. Modules that load slowly are imported where they are
used, so that help and lists come at once.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it; see `util.threads`

from ..errors import TinySRError
from ..util import escape_unprintable
from .compare import Compare
from .evaluate import Evaluate
from .export import Export
from .gimp import Gimp
from .info import Info
from .models import Models
from .terminal import say
from .upscale import Upscale

Command = (
    Annotated[Upscale, subcommand("upscale")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Info, subcommand("info")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Gimp, subcommand("gimp")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tinysr` with `argv` (None: those of the process) and return its exit status.

    Raises:
        SystemExit: help was asked for, or the command line makes no sense.
    """
    escape_unprintable()
    command: Any = tyro.cli(
        Command,
        prog="tinysr",
        description="TinySR enlarges portraits with a tiny network. `tinysr COMMAND --help` tells about a command.",
        args=argv,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone),
    )
    try:
        status = command.run()
        sys.stdout.flush()
        return status
    except TinySRError as error:
        say(f"tinysr: {error}")
        return 1
    except BrokenPipeError:  # who reads our output has gone, as `head` does; at exit Python would write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        goes_on = " What was finished is kept; the same command goes on from there."
        say("tinysr: stopped." + (goes_on if isinstance(command, Upscale) else ""))
        return 130


def script() -> None:
    """The process `tinysr`. It ends at once: to take everything apart first would take up to 0.2 s."""
    status = main()
    with suppress(OSError):  # nobody reads on; `main` has said so where it matters
        sys.stdout.flush()  # what was printed before an error
    os._exit(status)
