"""The command line, `tinysr`. Each command is a dataclass whose fields are its options, in a file of its own.

Results that scripts read go to stdout, everything else to stderr. Exit status: 0 all is well, 1 something failed, 2 the
command line asks for something impossible, 130 stopped by Ctrl-C, 143 and 129 by SIGTERM and SIGHUP. Modules that load
slowly are imported where they are used, so that help and lists come at once.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it; see `util.threads`

from .. import __version__
from ..errors import RequestError, TinySRError
from ..util import escape_unprintable
from .compare import Compare
from .defaults import with_defaults
from .evaluate import Evaluate
from .export import Export
from .gimp import Gimp
from .info import Info
from .models import Models
from .options import CONFIG
from .terminal import say
from .upscale import Upscale

DESCRIPTION = """TinySR enlarges portraits with a tiny network. `tinysr COMMAND --help` describes a command; `tinysr
--version` prints the version."""

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
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        print(f"tinysr {__version__}")
        return 0
    command: Any = None
    try:
        if arguments[:1] == ["upscale"]:
            arguments = with_defaults(arguments, os.environ, Path.home() / ".tinysr" / "config.toml")
        command = tyro.cli(Command, prog="tinysr", description=DESCRIPTION, args=arguments, config=CONFIG)
        status = command.run()
        sys.stdout.flush()
        return status
    except TinySRError as error:
        say(f"tinysr: {error}")
        return 2 if isinstance(error, RequestError) else 1
    except BrokenPipeError:  # who reads our output has gone, as `head` does; at exit Python would write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as interrupt:
        resume = " What was finished is kept; run the same command to resume." if isinstance(command, Upscale) else ""
        say("tinysr: stopped." + resume)
        return 128 + (interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT)


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM or because its terminal was closed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


def _terminate(number: int, frame: object) -> None:
    raise Terminated(number)


def script() -> None:
    """The process `tinysr`. It ends at once: to take everything apart first would take up to 0.2 s."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _terminate)
    status = main()
    with suppress(OSError):  # nobody reads on; `main` has said so where it matters
        sys.stdout.flush()  # what was printed before an error
    os._exit(status)
