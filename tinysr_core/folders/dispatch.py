"""Many pictures and several workers: which worker gets which picture, and what happens when a worker dies.

It knows workers only by their protocol: `processes` has those of this machine, `ray_cluster` those of several.
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
"""How often a picture is begun before it is given up; the last time while no other picture is in work."""


@dataclass(frozen=True)
class Ready:
    """A worker has loaded the network and waits for a picture."""

    workers: int
    """How many workers would keep the resources busy that it has found."""


@dataclass(frozen=True)
class Died:
    """A worker has ended without being asked to."""

    how: str
    """The end of the sentence "the process that worked on it ..."."""


Event = Ready | float | Outcome | Died | TinySRError
"""What a worker reports. A number is the share of its picture that is done; an error means: no worker can do this."""


class Worker(Protocol):
    """Something that upscales one picture at a time, elsewhere."""

    def upscale(self, job: Job) -> None:
        """Begin with a picture; returns at once."""
        ...

    def stop(self) -> None:
        """End it, whatever it is doing."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class WorkerPool(Protocol[AnyWorker]):
    """Starts workers of one kind and waits for them."""

    @property
    def size(self) -> int:
        """How many workers to begin with."""
        ...

    def start_worker(self) -> AnyWorker:
        """A new worker, which reports when it is ready."""
        ...

    def wait(self, workers: Sequence[AnyWorker]) -> list[tuple[AnyWorker, Event]]:
        """Wait until some of the workers report something; at most one event of each."""
        ...


def dispatch(jobs: Sequence[Job], pool: WorkerPool[Any], tracker: ProgressTracker) -> Iterator[Outcome]:
    """Have all pictures upscaled; yields the outcome of each as soon as it is known.

    A picture whose worker dies is begun again, after all others; one that does not fit into memory beside others is
    begun again when no other is in work.

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
            self._begin(self._waiting.popleft())
        if self._idle and self._alone and not self._busy:
            self._begin(self._alone.popleft())

    def _begin(self, job: Job) -> None:
        worker = self._idle.pop(0)
        self._busy[worker] = job
        self._tries[job] += 1
        worker.upscale(job)
        self._tracker.update(job, 0)

    def handle(self, worker: AnyWorker, event: Event) -> Iterator[Outcome]:
        """Take note of what a worker reports; yields the outcome if that settles a picture."""
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
                    yield from self._settle(job, event)
            case Died():
                yield from self._remove(worker, event.how)
            case TinySRError():
                raise event
            case share:
                self._tracker.update(self._busy[worker], share)

    def _remove(self, worker: AnyWorker, how: str) -> Iterator[Outcome]:
        """Forget a dead worker; its picture is begun again, or given up."""
        self.workers.remove(worker)
        job = self._busy.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        elif job is None:  # it was starting: another one would fare no better
            self._failed_starts += 1
            if not self.workers:
                raise WorkerError(f"No worker could be started: it {how}. Try --workers 1.")
        elif self._tries[job] < TRIES:
            (self._waiting if self._tries[job] < TRIES - 1 else self._alone).append(job)
        else:
            error = f"{job.input}: the process that worked on it {how}, {TRIES} times; try it alone with --workers 1."
            yield from self._settle(job, Outcome(job.input, job.output, "failed", error=error))

    def _settle(self, job: Job, outcome: Outcome) -> Iterator[Outcome]:
        # A worker may know the files by other paths than the user.
        yield dataclasses.replace(outcome, input=job.input, output=job.output)
        self._tracker.update(job, 1)
