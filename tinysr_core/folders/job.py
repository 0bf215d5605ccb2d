"""The folder job: upscales all pictures of a plan; one that fails does not stop the rest.

Results appear whole or not at all, and what made them is recorded: the same job continues where it stopped.
Needs no torch until a picture has to be upscaled.
"""

from collections.abc import Iterator

from ..errors import TinySRError
from ..util import remove_leftovers
from .dispatch import dispatch
from .file_upscaler import FileUpscaler
from .outcome import Outcome
from .plan import Job, Plan
from .processes import ProcessPool
from .progress import JobProgress, ProgressTracker
from .ray_cluster import RayPool, connected
from .records import ResultRecords
from .settings import Settings

FULL_DISK_LIMIT = 3
"""So many pictures in a row that a full disk takes no more of end the job."""


def run_job(
    plan: Plan,
    settings: Settings,
    progress: JobProgress = lambda picture, share: None,
    *,
    workers: int | None = 1,
    cluster: str | None = None,
) -> Iterator[Outcome]:
    """Upscale the pictures of a plan; yields the outcome of each as soon as it is known, settled ones first.

    Args:
        plan: from `plan_jobs`, with the same settings.
        settings: how the pictures are upscaled.
        progress: called with the picture in work and the share of the job that is done; raising from it cancels.
        workers: how many pictures are worked on at the same time, each in a process of its own; 1: in this process;
            None: as many as keep the machine busy. On a cluster None is one for each GPU, or else for each core.
        cluster: the address of a Ray cluster's head, or "auto"; its machines see the same files and have TinySR.

    Raises:
        CheckpointError: the model is unknown, or its file damaged.
        RequestError: the engine, the device, the precision, the tile or the detail cannot be used.
        WorkerError: no worker could be started, or the cluster does not answer.
        PictureError: the disk is full.
    """
    yield from plan.settled
    if not plan.jobs:
        FileUpscaler(settings)  # a setting that cannot be used is refused also where nothing is left to do
        return
    records, fingerprint = ResultRecords(), settings.fingerprint
    jobs = {job.input: job for job in plan.jobs}
    folders = {job.output.parent for job in plan.jobs}
    full = 0
    try:
        for folder in folders:
            remove_leftovers(folder)  # of an earlier run that was killed
        for outcome in _work(plan.jobs, settings, progress, workers, cluster):
            if outcome.status == "done":
                _record(jobs[outcome.input], records, fingerprint)
            yield outcome
            full = full + 1 if outcome.cause == "disk" else 0
            if full == FULL_DISK_LIMIT:
                raise TinySRError("The disk is full; free some space, then run the same command to resume.")
    finally:
        for folder in folders:
            remove_leftovers(folder)  # of workers that were killed


def _record(job: Job, records: ResultRecords, fingerprint: str) -> None:
    """Record a result. Only then may the original go that it has replaced."""
    source = job.backup or job.input
    records.add(source, job.output, fingerprint)
    if job.backup is not None and not job.keep_backup:
        job.backup.unlink(missing_ok=True)


def _work(
    jobs: tuple[Job, ...], settings: Settings, progress: JobProgress, workers: int | None, cluster: str | None
) -> Iterator[Outcome]:
    """Upscale all pictures, on a cluster, in processes, or in this one."""
    tracker = ProgressTracker(jobs, progress)
    if cluster is not None:
        with connected(cluster) as ray:
            yield from dispatch(jobs, RayPool(ray, settings, workers), tracker)
    elif workers == 1 or len(jobs) == 1:
        yield from _one_by_one(jobs, settings, tracker)
    else:
        yield from dispatch(jobs, ProcessPool(settings, workers, len(jobs)), tracker)


def _one_by_one(jobs: tuple[Job, ...], settings: Settings, tracker: ProgressTracker) -> Iterator[Outcome]:
    upscaler = FileUpscaler(settings)
    for job in jobs:
        tracker.update(job, 0)
        yield upscaler.upscale(job, lambda done, total, job=job: tracker.update(job, done / total))
        tracker.update(job, 1)
