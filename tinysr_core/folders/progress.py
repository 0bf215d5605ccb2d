"""Progress of single pictures as progress of a whole job."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .naming import Job

JobProgress = Callable[[Path, float], None]
"""Called with the picture in work and the share of the job that is done, 0 to 1. Raising from it cancels the job."""


class ProgressTracker:
    """Adds up the progress of pictures, each of which weighs as much as its file has bytes."""

    def __init__(self, jobs: Sequence[Job], report: JobProgress) -> None:
        self._report = report
        self._bytes = {job: _file_size(job.input) for job in jobs}
        self._all_bytes = sum(self._bytes.values())
        self._done = dict.fromkeys(jobs, 0.0)
        self._all_done = 0.0

    def update(self, job: Job, share: float) -> None:
        """Report that `share` of a picture is done. A picture that is begun again takes nothing back."""
        gained = max(0.0, share * self._bytes[job] - self._done[job])
        self._done[job] += gained
        self._all_done += gained
        self._report(job.input, min(1.0, self._all_done / self._all_bytes))


def _file_size(path: Path) -> int:
    """At least 1, so that the parts of a job never add up to nothing."""
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1
