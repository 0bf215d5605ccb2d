"""What the command line shows: a bar, outcomes, tables. Records for scripts go to stdout, what happens to stderr."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..model import DEFAULT_NAME, CheckpointInfo, model_name

if TYPE_CHECKING:
    from ..folders import Doing, Job, Outcome, Settings
    from ..gimp import Report


def say(text: str) -> None:
    """Tell the user something that is not a result."""
    print(text, file=sys.stderr)


def work(jobs: "Sequence[Job]", settings: "Settings", do: "Doing", as_json: bool) -> "list[Outcome]":
    """Have `do` run `jobs` with a bar that shows the progress of all of them, and tell what became of each."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ..folders import is_finished, run

    pending = sum(not is_finished(job, settings) for job in jobs)
    outcomes: list[Outcome] = []
    ended = 0
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), TaskProgressColumn(), TextColumn("time left"), TimeRemainingColumn())
    hidden = not console.is_terminal or (as_json and sys.stdout.isatty())
    with Progress(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("loading the network", total=1.0)

        def report(picture: Path, share: float) -> None:
            number = min(ended + 1, pending)
            progress.update(task, completed=share, description=f"{number}/{pending} {picture.name}")

        for outcome in run(jobs, settings, report, do):
            outcomes.append(outcome)
            ended += outcome.status != "skipped"
            if as_json:
                print(json.dumps(dataclasses.asdict(outcome), default=str), flush=True)
            for line in _lines(outcome):
                console.print(line)
    if len(jobs) > 1:
        console.print(_summary(outcomes))
    elif not pending:
        console.print(f"{jobs[0].output} is there already; --overwrite makes it again.")
    return outcomes


def _lines(outcome: "Outcome") -> Iterable[str]:
    match outcome.status:
        case "skipped":
            return ()
        case "failed":
            return (f"tinysr: {outcome.error}",)
        case "done":
            before, after = (f"{w} x {h}" for w, h in filter(None, (outcome.input_size, outcome.output_size)))
            what = f"{outcome.output} ({before} to {after}, {outcome.model}, {outcome.seconds:.1f} s)"
            return (what, *(f"  {note}" for note in outcome.notes))


def _summary(outcomes: "Sequence[Outcome]") -> str:
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed")}
    parts = [f"{counts['done']} of {len(outcomes)} pictures upscaled"]
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} were there already (--overwrite makes them again)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return ", ".join(parts) + "."


def show_models(infos: Sequence[CheckpointInfo]) -> None:
    """Print a table of the checkpoints."""
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
    """What `info` and `models` tell about a checkpoint."""
    return {
        "name": model_name(info.path),
        "path": str(info.path),
        "parameters": info.config.parameters,
        **dataclasses.asdict(info.config),
        "card": dict(info.card),
    }


def picture_facts(path: Path) -> dict[str, Any]:
    """What `info` tells about a picture. Raises PictureError where it cannot be read."""
    from ..images import read_picture

    picture = read_picture(path)
    return {
        "path": str(path),
        "width": picture.width,
        "height": picture.height,
        "colours": "grey" if picture.grey else "RGB",
        "alpha": picture.alpha is not None,
        "bits": picture.bits,
        "dpi": picture.dpi,
        "icc_bytes": len(picture.icc or b""),
        "exif_bytes": len(picture.exif or b""),
        "notes": list(picture.notes),
    }


def show_facts(facts: Mapping[str, Any], indent: str = "") -> None:
    """Print names and values, nested ones indented."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            print(f"{indent}{key}:")
            show_facts(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")


def show_reports(reports: "Sequence[Report]", success: str) -> int:
    """Print what was done to each GIMP profile; returns the exit status."""
    for report in reports:
        if report.problem is None:
            print(f"{success} {report.profile.folder}.")
        else:
            say(f"tinysr: {report.profile.folder}: {report.problem}")
    if not reports:
        say("tinysr: no GIMP 3 profile has the plug-in.")
    return 1 if any(report.problem for report in reports) else 0
