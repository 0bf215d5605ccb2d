"""What a run shows while it goes on: rows of metrics.jsonl, the preview sheet, the report page."""

import time
from collections.abc import Mapping
from typing import Any

from .preview_sheet import enlarged, write_preview
from .report_page import Standing, write_report
from .run_folder import MetricsRow, RunFolder
from .validation import Measured, Scores, Validator

PAGE_SECONDS = 10.0
"""The page is rewritten about this often between validations."""


class RunReport:
    """Writes what was measured of a run into its folder. `validator` has the preview's crops, if there are any."""

    def __init__(self, folder: RunFolder, title: str, scale: int, validator: Validator | None) -> None:
        self.folder, self.title, self.scale, self.validator = folder, title, scale, validator
        self.rows: list[MetricsRow] = []
        self._page_written = -PAGE_SECONDS

    def resume(self, step: int) -> None:
        """Continue after `step`; rows that a killed process wrote after it are dropped."""
        self.rows = self.folder.rewind(step)

    def add(self, step: int, seconds: float, measured: Mapping[str, Any]) -> None:
        """Append a row: the step, the minutes of training, and what was measured."""
        row = {"step": step, "minutes": round(seconds / 60, 3), **measured}
        self.rows.append(row)
        self.folder.append(row)

    @property
    def page_is_old(self) -> bool:
        """Whether the page was written more than `PAGE_SECONDS` ago."""
        return time.monotonic() - self._page_written > PAGE_SECONDS

    def write_page(
        self, status: str, scores: Mapping[str, Scores], best_step: int | None, verdict: str | None = None
    ) -> None:
        """Write report.html. The `verdict` comes when the run is over."""
        running = verdict is None
        standing = Standing(self.title, status, verdict or "", running, self.rows, scores, best_step)
        with self.folder.writing():
            write_report(self.folder.report, standing, self.folder.preview)
        self._page_written = time.monotonic()

    def write_preview(self, title: str, measured: Measured, references: Mapping[str, Measured]) -> None:
        """Write preview.png: the LR crops, the references, what was `measured`, and the originals."""
        assert self.validator is not None
        columns = {
            "small picture": [enlarged(lr, self.scale) for lr in self.validator.lr],
            **{name: reference.pictures for name, reference in references.items()},
            title: measured.pictures,
            "original": self.validator.hr,
        }
        with self.folder.writing():
            write_preview(self.folder.preview, columns)
