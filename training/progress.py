"""The progress of training and of downloads in the terminal."""

import time
import webbrowser
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from tinysr_core.loss import Source
from tinysr_core.trainer import TrainingProgress, comparison

LINE_SECONDS = 30.0
"""In a log file, time between lines with the loss."""


@contextmanager
def progress_bar(console: Console) -> Generator[Callable[[TrainingProgress], None]]:
    """Show a progress bar with the time left and the terms of the loss, and print a line per validation; yield the
    callback for `train`. In a log file, only lines are printed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    bar = Progress(*columns, console=console)
    task = bar.add_task("starting", total=None, left="")
    terms = Text(style="dim")
    printed_scores, printed_at = None, time.monotonic()
    with Live(Group(bar, terms), console=console, transient=True, auto_refresh=console.is_terminal) as live:

        def update(now: TrainingProgress) -> None:
            nonlocal printed_scores, printed_at
            left = time_left(now.seconds_left)
            bar.update(task, description=f"step {now.step}", completed=now.step, total=now.steps, left=left)
            terms.plain = _terms(now)
            if now.scores.get("now") is not printed_scores:
                printed_scores = now.scores.get("now")
                line = f"step {now.step}, validation: {comparison(now.scores, 'now')}"
                console.print(line, highlight=False, soft_wrap=True)
            if not console.is_terminal and now.terms and time.monotonic() - printed_at > LINE_SECONDS:
                printed_at = time.monotonic()
                console.print(f"step {now.step}: {_terms(now)}, {left}", highlight=False, soft_wrap=True)

        yield update
        live.update(Text())


def open_when_written(page: Path, report: Callable[[TrainingProgress], None]) -> Callable[[TrainingProgress], None]:
    """A callback that calls `report`, and opens `page` in the browser as soon as the file exists."""
    opened = False

    def update(now: TrainingProgress) -> None:
        nonlocal opened
        report(now)
        if not opened and page.is_file():
            opened = True
            webbrowser.open(page.resolve().as_uri())

    return update


@contextmanager
def download_bar(console: Console) -> Generator[Callable[[Source, int, int], None]]:
    """Print a line before each download, and show a bar in a terminal; yield the callback for `Downloads`."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    tasks: dict[Source, TaskID] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def update(source: Source, done: int, total: int) -> None:
            if source not in tasks:
                size = f"{total / 1e6:.0f} MB" if total > 1e6 else f"{total / 1e3:.0f} kB"
                resumed = f", resumed at {done / 1e6:.0f} MB" if done else ""
                console.print(f"Downloading {source.title} once ({size}{resumed}).", highlight=False, markup=False)
                tasks[source] = bar.add_task(source.title, total=total)
            bar.update(tasks[source], completed=done, total=total)

        yield update


def time_left(seconds: float) -> str:
    """A duration as text."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min left"


def _terms(now: TrainingProgress) -> str:
    names = {name: "loss" if name == "total" else name for name in now.terms}
    return ", ".join(f"{names[name]} {value:.4g}" for name, value in now.terms.items())
