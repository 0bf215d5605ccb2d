"""Add up the progress of pictures to the progress of a job."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .naming import Job

JobProgress = Callable[[Path, float], None]
"""Called with the current picture and the share of the job that is done, 0 to 1. An exception cancels the job."""


class ProgressTracker:
    """Adds up the progress of pictures, weighted by the sizes of their files."""

    def __init__(self, jobs: Sequence[Job], report: JobProgress) -> None:
        self._report = report
        self._bytes = {job: _file_size(job.input) for job in jobs}
        self._all_bytes = sum(self._bytes.values())
        self._done = dict.fromkeys(jobs, 0.0)
        self._all_done = 0.0

    def update(self, job: Job, share: float) -> None:
        """Report that `share` of a picture is done. Progress does not go back when a picture is tried again."""
        added = max(0.0, share * self._bytes[job] - self._done[job])
        self._done[job] += added
        self._all_done += added
        self._report(job.input, min(1.0, self._all_done / self._all_bytes))


def _file_size(path: Path) -> int:
    """The size in bytes, at least 1, so that the sum is never 0."""
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1
