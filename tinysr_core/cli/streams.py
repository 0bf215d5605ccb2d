"""`tinysr upscale -`: a picture from standard input, a result to standard output."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RequestError, TinySRError
from .terminal import say

if TYPE_CHECKING:
    from ..folders import Plan, Settings
    from .options import ShowFlags


def upscale_stream(
    inputs: Sequence[str],
    output: str | None,
    show: "ShowFlags",
    settings: "Settings",
    make_plan: "Callable[[list[Path], str | None], Plan]",
) -> int:
    """Upscale one picture from standard input, to standard output, or both; return the exit status.

    `make_plan` makes the plan of a job from input files and the output.

    Raises:
        RequestError: there is more than one input, or an option that needs a file.
        TinySRError: the picture cannot be upscaled.
    """
    from ..folders import is_video, run_job

    if any(is_video(Path(name)) for name in inputs):
        raise RequestError("A video cannot go to standard output; name a file with -o.")
    if len(inputs) != 1:
        raise RequestError("Standard input and output take one picture; give exactly one input.")
    to_stdout = output in (None, "-")
    if to_stdout and (show.json or show.dry_run):
        raise RequestError("The result goes to standard output; name a file with -o for --json or --dry-run.")
    if to_stdout and sys.stdout.isatty():
        raise RequestError("The result would go to the terminal; name a file with -o, or redirect the output.")
    with tempfile.TemporaryDirectory(prefix="tinysr-") as folder:
        source = _spooled(Path(folder)) if inputs[0] == "-" else Path(inputs[0])
        plan = make_plan([source], f"{folder}/results/" if to_stdout else output)
        for outcome in run_job(plan, settings):
            if outcome.status != "done":
                problem = f"{outcome.output} exists and is not a result of this picture; --overwrite replaces it."
                raise TinySRError((outcome.error or problem).replace(f"{folder}/", ""))
            if not show.quiet:
                for note in outcome.notes:
                    say(f"  {note}")
            if to_stdout and outcome.output is not None:
                with outcome.output.open("rb") as result:
                    shutil.copyfileobj(result, sys.stdout.buffer)
    return 0


def _spooled(folder: Path) -> Path:
    """Write standard input to a file with the suffix of its format."""
    from ..images import FORMATS, read_header

    path = folder / "standard input"
    with path.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    try:
        kind = read_header(path).kind
    except TinySRError as error:
        raise type(error)(str(error).replace(str(path), path.name)) from error
    suffix = next((known.suffixes[0] for known in FORMATS.values() if known.name == kind), "")
    return path.rename(path.with_name(path.name + suffix))
