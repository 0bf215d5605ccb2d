"""The command line, `tinysr`. Each command is a dataclass in its own file; the fields are its options.

Results for scripts go to stdout, everything else to stderr. Exit status: 0 success, 1 something failed, 2 invalid
request, 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP. Modules that load slowly are imported where they are
used, so that help and lists appear at once.
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

DESCRIPTION = """TinySR upscales portraits with a tiny network. `tinysr COMMAND --help` describes a command; `tinysr
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
        SystemExit: help was requested, or the command line is invalid.
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
    except BrokenPipeError:  # the reader has closed the pipe, like `head`; Python must not write to it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as interrupt:
        resume = " Finished results are kept; run the same command to resume." if isinstance(command, Upscale) else ""
        say("tinysr: stopped." + resume)
        return 128 + (interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT)


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM or by SIGHUP (its terminal was closed)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


def _terminate(number: int, frame: object) -> None:
    raise Terminated(number)


def script() -> None:
    """Run the process `tinysr`. It ends without the cleanup of Python, which takes up to 0.2 s."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _terminate)
    status = main()
    with suppress(OSError):  # the reader has closed the pipe
        sys.stdout.flush()  # what was printed before an error
    os._exit(status)
