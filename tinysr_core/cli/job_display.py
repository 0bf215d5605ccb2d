"""What the command line shows of a folder job: progress as a bar or as lines, the outcome of each file, a summary."""

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
    from ..video import VideoProgress
    from .options import ShowFlags

LINE_SECONDS = 10.0
"""Interval between lines of progress, which replace the bar where there is no terminal."""
_SKIPPED = {
    "finished": "finished already",
    "kept": "skipped, because their results would replace other files (--overwrite replaces them)",
    "larger": "larger than --skip-larger-than",
}


def show_job(
    plan: "Plan", settings: "Settings", show: "ShowFlags", *, workers: int | None, cluster: str | None
) -> "list[Outcome]":
    """Run a folder job; show its progress and the outcome of each file.

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
        job = run_job(
            plan, settings, progress.update, video_progress=progress.update_video, workers=workers, cluster=cluster
        )
        for outcome in job:
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
    """Shows the progress of a job: as a bar on a terminal, elsewhere as a line every `LINE_SECONDS`."""

    def __init__(self, console: Console, pending: int, bar: bool, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        name, left = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[left]}"))
        columns = (name, BarColumn(), TaskProgressColumn(), left)
        self._console, self._pending, self._clock = console, pending, clock
        self._lines = not console.is_terminal
        hidden = self._lines or not bar or console.quiet
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False)
        self._task = self._bar.add_task("loading the network", total=1.0, left="")
        self._start = self._last_line = clock()
        self.ended = 0
        """How many files have been worked on."""

    def __enter__(self) -> "JobDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:  # rich before 14.3 prints an empty line for a hidden bar
            self._bar.stop()

    def update(self, picture: Path, share: float) -> None:
        """Show the current picture, and the share of all pictures that is done."""
        seconds = self._clock() - self._start
        self._show(picture.name, share, seconds * (1 - share) / share if share else None)

    def update_video(self, video: Path, progress: "VideoProgress") -> None:
        """Show the current video, and how far it is."""
        total = f" of {progress.total}" if progress.total else ""
        speed = f", {progress.frames_per_second:.2f} frames/s" if progress.frames_per_second else ""
        share = min(progress.done / progress.total, 1) if progress.total else None
        self._show(f"{video.name}, frame {progress.done}{total}{speed}", share, progress.seconds_left)

    def _show(self, text: str, share: float | None, seconds_left: float | None) -> None:
        description = f"{min(self.ended + 1, self._pending)}/{self._pending} {text}"
        left = "" if seconds_left is None else f"about {duration(seconds_left)} left"
        self._bar.update(self._task, completed=share or 0, description=description, left=left)
        now = self._clock()
        if self._lines and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            percent = "" if share is None else f": {share:.0%}"
            self._console.print(f"{description}{percent}" + (f", {left}" if left else ""))


def _lines(outcome: "Outcome", with_notes: bool, with_skipped: bool) -> Iterator[str]:
    match outcome.status:
        case "skipped":
            if with_skipped:
                yield _why_skipped(outcome)
        case "failed":
            yield f"tinysr: {outcome.error}"
        case "done":
            before, after = (sides(size) for size in filter(None, (outcome.input_size, outcome.output_size)))
            frames = "" if outcome.frames is None else f"{outcome.frames} frames, "
            yield f"{outcome.output} ({frames}{before} to {after}, {outcome.model}, {outcome.seconds:.1f} s)"
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
            return f"{outcome.output} exists and is not a result of {outcome.input}; --overwrite replaces it."


def _summary(plan: "Plan", outcomes: "Sequence[Outcome]", with_notes: bool) -> Iterator[str]:
    counts = Counter(outcome.status for outcome in outcomes)
    skipped = Counter(outcome.skipped for outcome in outcomes if outcome.skipped)
    files = "files" if any(job.is_video for job in plan.jobs) else "pictures"
    parts = [f"{counts['done']} of {len(outcomes)} {files} upscaled"]
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
        yield f"{plan.repeated} inputs were left out: they are results of other inputs, or were given twice."
    if plan.passed_over:
        kinds = (f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(plan.passed_over.items()))
        yield f"Other files in the folders: {', '.join(kinds)}."


def _kind(note: str) -> str:
    """What notes are counted by: `Note.kind`, or the text of a note without one."""
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
