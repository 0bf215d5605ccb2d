"""What the command line shows of a folder job: a bar or lines of progress, what became of each picture, a summary."""

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .. import __version__
from .terminal import duration, sides

if TYPE_CHECKING:
    from ..folders import Outcome, Plan, Settings
    from .options import ShowFlags

LINE_SECONDS = 10.0
"""Where there is no terminal for a bar, a line of progress is printed this often."""
_SKIPPED = {
    "finished": "finished already",
    "kept": "kept, because there is a file that this command did not make from them (--overwrite replaces it)",
    "larger": "larger than --skip-larger-than",
}


def show_job(
    plan: "Plan", settings: "Settings", show: "ShowFlags", *, workers: int | None, cluster: str | None
) -> "list[Outcome]":
    """Run a folder job, show its progress, and tell what became of each picture.

    Raises:
        TinySRError: see `run_job`.
    """
    from ..folders import run_job

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=show.quiet)
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if show.verbose:
        console.print(f"TinySR {__version__}, {settings.model_name}, {settings.size_mark}, {settings.network}")
    outcomes: list[Outcome] = []
    several = len(plan.jobs) + len(plan.settled) > 1
    start = time.monotonic()
    with JobDisplay(console, len(plan.jobs), bar=not (show.json and sys.stdout.isatty())) as progress:
        for outcome in run_job(plan, settings, progress.update, workers=workers, cluster=cluster):
            outcomes.append(outcome)
            progress.ended = sum(one.status != "skipped" for one in outcomes)
            if show.json:
                print(json.dumps(dataclasses.asdict(outcome), default=str), flush=True)
            where = errors if outcome.status == "failed" else console
            for line in _lines(outcome, show.verbose or not several, show.verbose):
                where.print(line)
    if show.json:
        print(json.dumps({"summary": _facts(plan, settings, outcomes, time.monotonic() - start)}, default=str))
    if several or plan.repeated or plan.passed_over:
        for line in _summary(plan, outcomes, with_notes=several and not show.verbose):
            console.print(line)
    elif outcomes[0].status == "skipped":
        console.print(_why_skipped(outcomes[0]))
    return outcomes


class JobDisplay:
    """Shows how far a job is, as a bar on a terminal and as a line from time to time elsewhere."""

    def __init__(self, console: Console, pending: int, bar: bool, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        name = TextColumn("{task.description}", markup=False)
        columns = (name, BarColumn(), TaskProgressColumn(), TextColumn("time left"), TimeRemainingColumn())
        self._console, self._pending, self._clock = console, pending, clock
        self._lines = not console.is_terminal
        hidden = self._lines or not bar or console.quiet
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False)
        self._task = self._bar.add_task("loading the network", total=1.0)
        self._start = self._last_line = clock()
        self.ended = 0
        """How many pictures have been worked on."""

    def __enter__(self) -> "JobDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, picture: Path, share: float) -> None:
        """Show that `share` of the job is done and `picture` is in work."""
        description = f"{min(self.ended + 1, self._pending)}/{self._pending} {picture.name}"
        self._bar.update(self._task, completed=share, description=description)
        now = self._clock()
        if self._lines and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            left = f", about {duration((now - self._start) * (1 - share) / share)} left" if share else ""
            self._console.print(f"{description}: {share:.0%}{left}")


def _lines(outcome: "Outcome", with_notes: bool, with_skipped: bool) -> Iterator[str]:
    match outcome.status:
        case "skipped":
            if with_skipped:
                yield _why_skipped(outcome)
        case "failed":
            yield f"tinysr: {outcome.error}"
        case "done":
            before, after = (sides(size) for size in filter(None, (outcome.input_size, outcome.output_size)))
            yield f"{outcome.output} ({before} to {after}, {outcome.model}, {outcome.seconds:.1f} s)"
            if with_notes and outcome.clean_reason is not None:
                yield f"  clean {outcome.clean:g}: {outcome.clean_reason}"
            if with_notes:
                yield from (f"  {note}" for note in outcome.notes)
        case "planned":
            pass


def _why_skipped(outcome: "Outcome") -> str:
    match outcome.skipped:
        case "finished":
            return f"{outcome.output} is finished; --overwrite makes it again."
        case "larger":
            return f"{outcome.input} is skipped: {sides(outcome.input_size or (0, 0))} pixels."
        case _:
            return f"{outcome.output} was not made from {outcome.input} by this command; --overwrite replaces it."


def _summary(plan: "Plan", outcomes: "Sequence[Outcome]", with_notes: bool) -> Iterator[str]:
    counts = Counter(outcome.status for outcome in outcomes)
    skipped = Counter(outcome.skipped for outcome in outcomes if outcome.skipped)
    parts = [f"{counts['done']} of {len(outcomes)} pictures upscaled"]
    parts += [f"{count} {_SKIPPED[why]}" for why, count in skipped.items()]
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    yield ", ".join(parts) + "."
    if with_notes:
        notes = [note for outcome in outcomes for note in outcome.notes]
        kinds = Counter(_kind(note) for note in notes)
        first = {_kind(note): note for note in reversed(notes)}
        yield from (f"  {first[kind]}" + (f" ({count} pictures)" if count > 1 else "") for kind, count in kinds.items())
    if plan.repeated:
        yield f"{plan.repeated} inputs were left out: results of other inputs, or given twice."
    if plan.passed_over:
        kinds = (f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(plan.passed_over.items()))
        yield f"Other files in the folders: {', '.join(kinds)}."


def _kind(note: str) -> str:
    """What notes are counted by: `Note.kind`; the sentence itself where a note is plain text."""
    return getattr(note, "kind", note)


def _facts(plan: "Plan", settings: "Settings", outcomes: "Sequence[Outcome]", seconds: float) -> dict[str, Any]:
    """The summary for scripts."""
    finish = settings.finish
    return {
        "version": __version__,
        "settings": dataclasses.asdict(settings) | {"size": settings.size_mark, "finish": dataclasses.asdict(finish)},
        **{status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")},
        "repeated": plan.repeated,
        "passed_over": dict(plan.passed_over),
        "seconds": round(seconds, 3),
    }
