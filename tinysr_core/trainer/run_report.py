"""The reports of a run: rows of metrics.jsonl, the preview sheet, the report page."""

import time
from collections.abc import Mapping
from typing import Any

from .preview_sheet import enlarged, write_preview
from .report_page import RunSummary, write_report
from .run_folder import MetricsRow, RunFolder
from .validation import Measured, Scores, Validator

PAGE_SECONDS = 10.0
"""Shortest time from one version of the page to the next, except after validations."""


class RunReport:
    """Writes the reports into the run folder. The crops of the preview are those of `validator`."""

    def __init__(self, folder: RunFolder, title: str, scale: int, validator: Validator | None) -> None:
        self.folder, self.title, self.scale, self.validator = folder, title, scale, validator
        self.rows: list[MetricsRow] = []
        self._page_written = -PAGE_SECONDS

    def resume(self, step: int) -> None:
        """Resume after `step`. Later rows, which a killed process wrote, are dropped."""
        self.rows = self.folder.rewind(step)

    def add(self, step: int, seconds: float, measured: Mapping[str, Any]) -> None:
        """Append a row to the metrics: the step, the minutes of training, and the measurements."""
        row = {"step": step, "minutes": round(seconds / 60, 3), **measured}
        self.rows.append(row)
        self.folder.append(row)

    @property
    def page_is_old(self) -> bool:
        """Whether the page was last written more than `PAGE_SECONDS` ago."""
        return time.monotonic() - self._page_written > PAGE_SECONDS

    def write_page(
        self, status: str, scores: Mapping[str, Scores], best_step: int | None, verdict: str | None = None
    ) -> None:
        """Write report.html; `verdict` is None while the run is going on."""
        summary = RunSummary(self.title, status, verdict, self.rows, scores, best_step)
        with self.folder.writing():
            write_report(self.folder.report, summary, self.folder.preview)
        self._page_written = time.monotonic()

    def write_preview(self, title: str, measured: Measured, references: Mapping[str, Measured]) -> None:
        """Write preview.png: the LR crops, the references, the pictures of `measured`, and the originals."""
        assert self.validator is not None
        columns = {
            "small picture": [enlarged(lr, self.scale) for lr in self.validator.lr],
            **{name: reference.pictures for name, reference in references.items()},
            title: measured.pictures,
            "original": self.validator.hr,
        }
        with self.folder.writing():
            write_preview(self.folder.preview, columns)
