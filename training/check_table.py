"""The check of the photographs in the terminal: a progress bar and a table."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinysr_core.trainer import RECOMMENDED_PHOTOS, DataCheck, Finding

EXAMPLES = 3
"""Number of photographs to name per row; `photos.csv` names all."""


@contextmanager
def check_bar(console: Console) -> Generator[Callable[[int, int], None]]:
    """Show a progress bar; yield the callback for `check_photos`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking the photographs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_check(check: DataCheck, console: Console) -> None:
    """Print a table with one row per use and reason: the number of photographs, and examples."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in check.findings:
        kinds.setdefault((finding.use, finding.reason), []).append(finding)
    table = Table("photographs", "use", "why", "for example")
    for (use, reason), findings in sorted(kinds.items(), key=_order):
        note = reason if use == "none" or not reason else f"though {reason}"
        table.add_row(str(len(findings)), "not used" if use == "none" else use, note, _examples(findings))
    console.print(table, soft_wrap=False)
    used, kept = len(check.training), len(check.validation)
    console.print(f"{used} of {len(check.findings)} photographs for training, {kept} others for validation.")
    if check.problem is None and used + kept < RECOMMENDED_PHOTOS:
        console.print(f"These are few: {RECOMMENDED_PHOTOS} or more give better results.")
    if check.problem is None and not kept:
        console.print("They are all alike, so none can be kept for validation; give other photographs by --validation.")


def _order(kind: tuple[tuple[str, str], list[Finding]]) -> tuple[int, int, int]:
    (use, reason), findings = kind
    return ("training", "validation", "none").index(use), bool(reason), -len(findings)


def _examples(findings: Sequence[Finding]) -> str:
    if not findings[0].reason:
        return ""
    shown = [f"{_printable(finding.path.name)} ({_printable(_short(finding))})" for finding in findings[:EXAMPLES]]
    return "\n".join(shown + ["…"] * (len(findings) > EXAMPLES))


def _short(finding: Finding) -> str:
    """The detail, without the folder of other photographs if it is the same."""
    return finding.detail.replace(f"{finding.path.parent}{os.sep}", "")


def _printable(text: str) -> str:
    """`text` with undecodable bytes of file names escaped, and with the brackets that rich would take as markup."""
    return text.encode("utf-8", "backslashreplace").decode().replace("[", r"\[")
