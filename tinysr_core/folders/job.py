"""The folder job: upscale all files of a plan. A failed one does not stop the rest.

Results appear whole or not at all, and what made them is recorded, so that the same job resumes where it stopped.
Imports no torch until a file has to be upscaled.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import TinySRError
from ..util import remove_leftovers
from ..video import VideoProgress
from .dispatch import dispatch
from .file_upscaler import FileUpscaler
from .naming import Job
from .outcome import Outcome
from .plan import Plan
from .processes import ProcessPool
from .progress import JobProgress, ProgressTracker
from .ray_cluster import RayPool, connected
from .records import ResultRecords
from .settings import Settings

FULL_DISK_LIMIT = 3
"""The job ends after so many failures in a row because the disk is full."""


def run_job(
    plan: Plan,
    settings: Settings,
    progress: JobProgress = lambda picture, share: None,
    *,
    video_progress: Callable[[Path, VideoProgress], None] = lambda video, progress: None,
    workers: int | None = 1,
    cluster: str | None = None,
) -> Iterator[Outcome]:
    """Upscale the files of a plan; yield the outcome of each as soon as it is known, settled ones first.

    Videos come after the pictures, one after the other in this process, with all its threads.

    Args:
        plan: from `plan_jobs`, with the same settings.
        settings: how the files are upscaled.
        progress: called with the current picture and the share of all pictures that is done, 0 to 1. An exception that
            it raises cancels the job.
        video_progress: called with the current video and its progress. An exception that it raises cancels the job.
        workers: how many pictures are upscaled at the same time, each in its own process; 1: in this process; None: as
            many as keep the machine busy. On a cluster, None is one per GPU, or one per core if it has none.
        cluster: the address of the head of a Ray cluster, or "auto". Its machines see the same files and have TinySR.

    Raises:
        CheckpointError: the model is unknown, or its file is damaged.
        RequestError: the engine, the device, the precision, the tile or the detail cannot be used.
        WorkerError: no worker could be started, or the cluster does not answer.
        TinySRError: the disk is full.
    """
    yield from plan.settled
    if not plan.jobs:
        FileUpscaler(settings)  # refuses settings that cannot be used, even if nothing is left to do
        return
    records = ResultRecords()
    fingerprint, video_fingerprint = settings.fingerprint, settings.video_fingerprint
    jobs = {job.input: job for job in plan.jobs}
    folders = {job.output.parent for job in plan.jobs}
    full = 0
    try:
        for folder in folders:
            remove_leftovers(folder)  # of earlier runs that were killed
        pictures = tuple(job for job in plan.jobs if not job.is_video)
        videos = [job for job in plan.jobs if job.is_video]
        for outcome in itertools.chain(
            _upscale_pictures(pictures, settings, progress, workers, cluster),
            _upscale_videos(videos, settings, video_progress),
        ):
            if outcome.status == "done":
                job = jobs[outcome.input]
                _record(job, records, video_fingerprint if job.is_video else fingerprint)
            yield outcome
            full = full + 1 if outcome.cause == "disk" else 0
            if full == FULL_DISK_LIMIT:
                raise TinySRError("The disk is full; free some space, then run the same command to resume.")
    finally:
        for folder in folders:
            remove_leftovers(folder)  # of workers that were killed


def _record(job: Job, records: ResultRecords, fingerprint: str) -> None:
    """Record a result, then remove the original that it replaced if no backup is wanted."""
    source = job.backup or job.input
    records.add(source, job.output, fingerprint)
    if job.backup is not None and not job.keep_backup:
        job.backup.unlink(missing_ok=True)


def _upscale_pictures(
    jobs: tuple[Job, ...], settings: Settings, progress: JobProgress, workers: int | None, cluster: str | None
) -> Iterator[Outcome]:
    """Upscale pictures on a cluster, in several processes, or in this one."""
    if not jobs:
        return
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


def _upscale_videos(
    jobs: Sequence[Job], settings: Settings, progress: Callable[[Path, VideoProgress], None]
) -> Iterator[Outcome]:
    if not jobs:
        return
    upscaler = FileUpscaler(settings)
    for job in jobs:
        yield upscaler.upscale_video(job, lambda state, job=job: progress(job.input, state))
