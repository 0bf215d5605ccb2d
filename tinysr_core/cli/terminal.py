"""What the command line shows of a folder job. Records for scripts go to stdout, what happens to stderr."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from ..folders import Outcome, Plan, Settings


def say(text: str) -> None:
    """Tell the user something that is not a result."""
    print(text, file=sys.stderr)


def show_job(
    plan: "Plan", settings: "Settings", *, workers: int | None, cluster: str | None, as_json: bool
) -> "list[Outcome]":
    """Run a folder job with a bar that shows its progress, and tell what became of each picture."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ..folders import run_job

    outcomes: list[Outcome] = []
    pending, ended = len(plan.jobs), 0
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), TaskProgressColumn(), TextColumn("time left"), TimeRemainingColumn())
    hidden = not console.is_terminal or (as_json and sys.stdout.isatty())
    with Progress(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("loading the network", total=1.0)

        def update(picture: Path, share: float) -> None:
            number = min(ended + 1, pending)
            progress.update(task, completed=share, description=f"{number}/{pending} {picture.name}")

        for outcome in run_job(plan, settings, update, workers=workers, cluster=cluster):
            outcomes.append(outcome)
            ended += outcome.status != "skipped"
            if as_json:
                print(json.dumps(dataclasses.asdict(outcome), default=str), flush=True)
            for line in _lines(outcome):
                console.print(line)
    if len(outcomes) > 1:
        console.print(_summary(outcomes))
    elif outcomes[0].status == "skipped":
        console.print(f"{outcomes[0].output} is there already; --overwrite makes it again.")
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
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts['done']} of {len(outcomes)} pictures upscaled"]
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} were there already (--overwrite makes them again)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return ", ".join(parts) + "."
