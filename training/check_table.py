"""What the terminal shows of the data check."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinysr_core.trainer import GOOD, DataCheck, Finding

NAMED = 3
"""So many photographs of each kind are named; `photos.csv` names all."""


@contextmanager
def check_bar(console: Console) -> Generator[Callable[[int, int], None]]:
    """Yield what `check_photos` reports its progress to."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking at the photographs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_check(check: DataCheck, console: Console) -> None:
    """A line for each use and reason: how many photographs, and which."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in check.findings:
        kinds.setdefault((finding.use, finding.reason), []).append(finding)
    table = Table("photographs", "use", "why", "for example")
    for (use, reason), findings in sorted(kinds.items(), key=_order):
        note = reason if use == "none" or not reason else f"though {reason}"
        table.add_row(str(len(findings)), "not used" if use == "none" else use, note, _examples(findings))
    console.print(table, soft_wrap=False)
    used, kept = len(check.training), len(check.validation)
    console.print(f"{used} of {len(check.findings)} photographs to train on, {kept} others to judge by.")
    if check.problem is None and used + kept < GOOD:
        console.print(f"That is few: {GOOD} or more do better.")
    if check.problem is None and not kept:
        console.print("They all show the same, so none is kept to judge by; --validation names a folder of others.")


def _order(kind: tuple[tuple[str, str], list[Finding]]) -> tuple[int, int, int]:
    (use, reason), findings = kind
    return ("training", "validation", "none").index(use), bool(reason), -len(findings)


def _examples(findings: Sequence[Finding]) -> str:
    if not findings[0].reason:
        return ""
    shown = [f"{_printable(finding.path.name)} ({_printable(_short(finding))})" for finding in findings[:NAMED]]
    return "\n".join(shown + ["…"] * (len(findings) > NAMED))


def _short(finding: Finding) -> str:
    """The detail, with other photographs of the same folder called by their names."""
    return finding.detail.replace(f"{finding.path.parent}{os.sep}", "")


def _printable(text: str) -> str:
    """With the bytes of a name that are no text, and what rich would take for markup, made visible."""
    return text.encode("utf-8", "backslashreplace").decode().replace("[", r"\[")
