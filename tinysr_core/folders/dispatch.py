"""The dispatcher: gives pictures to workers, and replaces workers that die.

It works with any `WorkerPool`: `processes` has that of one machine, `ray_cluster` that of a cluster.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import TinySRError, WorkerError
from .naming import Job
from .outcome import Outcome
from .progress import ProgressTracker

TRIES = 3
"""How often a picture is tried before it fails. The last time, no other picture is in work."""


@dataclass(frozen=True)
class Ready:
    """A worker has loaded the network and is idle."""

    workers: int
    """How many workers would use all resources that it has found."""


@dataclass(frozen=True)
class Died:
    """A worker has ended unexpectedly."""

    how: str
    """The end of the sentence "the process that worked on it ...", such as "was killed by signal 9"."""


Event = Ready | float | Outcome | Died | TinySRError
"""What a worker reports. A number is the share of its picture that is done. An error ends the job."""


class Worker(Protocol):
    """Upscales one picture at a time, in another process."""

    def upscale(self, job: Job) -> None:
        """Start a picture; return at once."""
        ...

    def stop(self) -> None:
        """End the worker, even if it is busy."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class WorkerPool(Protocol[AnyWorker]):
    """Starts workers and waits for their events."""

    @property
    def size(self) -> int:
        """How many workers to start."""
        ...

    def start_worker(self) -> AnyWorker:
        """Start a worker. It reports `Ready` when it has loaded the network."""
        ...

    def wait(self, workers: Sequence[AnyWorker]) -> list[tuple[AnyWorker, Event]]:
        """Wait until at least one worker reports an event; return at most one event of each."""
        ...


def dispatch(jobs: Sequence[Job], pool: WorkerPool[Any], tracker: ProgressTracker) -> Iterator[Outcome]:
    """Upscale all pictures; yield the outcome of each as soon as it is known.

    A picture whose worker died is tried again after the others. A picture that does not fit into memory beside others
    is tried again alone.

    Raises:
        WorkerError: no worker could be started.
        TinySRError: no worker can do this job.
    """
    dispatcher = _Dispatcher(jobs, pool, tracker)
    try:
        while dispatcher.unfinished:
            dispatcher.assign()
            for worker, event in pool.wait(dispatcher.workers):
                yield from dispatcher.handle(worker, event)
    finally:
        for worker in dispatcher.workers:
            worker.stop()


class _Dispatcher(Generic[AnyWorker]):
    """The state of one `dispatch`."""

    def __init__(self, jobs: Sequence[Job], pool: WorkerPool[AnyWorker], tracker: ProgressTracker) -> None:
        self._pool, self._tracker = pool, tracker
        self._waiting, self._alone = deque(jobs), deque[Job]()
        self._tries = Counter[Job]()
        self._size = pool.size
        self._failed_starts = 0
        self.workers: list[AnyWorker] = []
        self._idle: list[AnyWorker] = []
        self._busy: dict[AnyWorker, Job] = {}

    @property
    def unfinished(self) -> int:
        """How many pictures have no outcome yet."""
        return len(self._waiting) + len(self._alone) + len(self._busy)

    def assign(self) -> None:
        """Start missing workers, and give each idle one a picture."""
        while len(self.workers) < min(self._size - self._failed_starts, self.unfinished):
            self.workers.append(self._pool.start_worker())
        while self._idle and self._waiting:
            self._start(self._waiting.popleft())
        if self._idle and self._alone and not self._busy:
            self._start(self._alone.popleft())

    def _start(self, job: Job) -> None:
        worker = self._idle.pop(0)
        self._busy[worker] = job
        self._tries[job] += 1
        worker.upscale(job)
        self._tracker.update(job, 0)

    def handle(self, worker: AnyWorker, event: Event) -> Iterator[Outcome]:
        """Process an event of a worker; yield the outcome if the picture is finished."""
        match event:
            case Ready():
                self._idle.append(worker)
                self._size = max(self._size, event.workers)
            case Outcome():
                job = self._busy.pop(worker)
                self._idle.append(worker)
                if event.cause == "memory" and self._tries[job] < TRIES:
                    self._tries[job] = TRIES - 1
                    self._alone.append(job)
                else:
                    yield from self._finish(job, event)
            case Died():
                yield from self._remove(worker, event.how)
            case TinySRError():
                raise event
            case share:
                self._tracker.update(self._busy[worker], share)

    def _remove(self, worker: AnyWorker, how: str) -> Iterator[Outcome]:
        """Remove a dead worker; try its picture again, or report its failure."""
        self.workers.remove(worker)
        job = self._busy.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        elif job is None:  # it died at its start; another would too
            self._failed_starts += 1
            if not self.workers:
                raise WorkerError(f"No worker could be started: it {how}. Try --workers 1.")
        elif self._tries[job] < TRIES:
            (self._waiting if self._tries[job] < TRIES - 1 else self._alone).append(job)
        else:
            error = f"{job.input}: the process that worked on it {how}, {TRIES} times; try it alone with --workers 1."
            yield from self._finish(job, Outcome(job.input, job.output, "failed", error=error))

    def _finish(self, job: Job, outcome: Outcome) -> Iterator[Outcome]:
        # A worker may have other paths for the same files than the user.
        yield dataclasses.replace(outcome, input=job.input, output=job.output)
        self._tracker.update(job, 1)
