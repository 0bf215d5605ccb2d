"""Many pictures and several workers: who gets which picture, and what happens when a worker dies.

It knows of workers only what they do: `processes` has those of one machine, `cluster` those of several.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import RequestError, TinySRError
from .job import Outcome, Report, file_size
from .plan import Job

TRIES = 3
"""How often a picture is begun before it is given up; the last time while no other picture is in work."""


@dataclass(frozen=True)
class Ready:
    """A worker has loaded the network and waits for a picture."""

    workers: int
    """How many workers would keep busy what it has found to work with."""


@dataclass(frozen=True)
class Died:
    """A worker has ended without being asked to."""

    how: str
    """The end of the sentence "the process that worked on it ..."."""


Event = Ready | float | Outcome | Died | TinySRError
"""What a worker tells. A number is the share of its picture that is done; an error is why nobody can do this job."""


class Worker(Protocol):
    """Something that upscales one picture at a time, elsewhere."""

    def upscale(self, job: Job) -> None:
        """Begin with a picture; returns at once."""
        ...

    def stop(self) -> None:
        """End it, whatever it is doing."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class Crew(Protocol[AnyWorker]):
    """Where workers come from."""

    @property
    def size(self) -> int:
        """How many to begin with."""
        ...

    def hire(self) -> AnyWorker:
        """A new worker, which tells when it is ready."""
        ...

    def events(self, workers: Collection[AnyWorker]) -> Iterable[tuple[AnyWorker, Event]]:
        """What some of the workers have to tell; waits until there is something."""
        ...


def dispatch(jobs: Sequence[Job], report: Report, crew: Crew[Any]) -> Iterator[Outcome]:
    """Have all pictures upscaled; yields the outcome of each as soon as it is known.

    A picture whose worker dies is begun again, after all others; one that does not fit into memory beside others is
    begun again when no other is in work.

    Raises:
        TinySRError: no worker can do this job, or none lives until it is ready.
    """
    shift = _Shift(jobs, report, crew)
    try:
        while shift.unfinished:
            shift.fill_up()
            for worker, event in crew.events(shift.workers):
                yield from shift.hear(worker, event)
    finally:
        for worker in shift.workers:
            worker.stop()


class _Shift(Generic[AnyWorker]):
    """The state of one `dispatch`."""

    def __init__(self, jobs: Sequence[Job], report: Report, crew: Crew[AnyWorker]) -> None:
        self._crew, self._report = crew, report
        self._waiting, self._alone = deque(jobs), deque[Job]()
        self._tries = Counter[Job]()
        self._size = crew.size
        self._stillborn = 0
        self.workers: list[AnyWorker] = []
        self._idle: list[AnyWorker] = []
        self._busy: dict[AnyWorker, Job] = {}
        self._bytes = {job: file_size(job.input) for job in jobs}
        self._all_bytes = sum(self._bytes.values())
        self._done = dict.fromkeys(jobs, 0.0)  # bytes
        self._all_done = 0.0

    @property
    def unfinished(self) -> int:
        """How many pictures have no outcome yet."""
        return len(self._waiting) + len(self._alone) + len(self._busy)

    def fill_up(self) -> None:
        """Hire who is missing, and give everybody a picture."""
        while len(self.workers) < min(self._size - self._stillborn, self.unfinished):
            self.workers.append(self._crew.hire())
        while self._idle and self._waiting:
            self._begin(self._waiting.popleft())
        if self._idle and self._alone and not self._busy:
            self._begin(self._alone.popleft())

    def _begin(self, job: Job) -> None:
        worker = self._idle.pop(0)
        self._busy[worker] = job
        self._tries[job] += 1
        worker.upscale(job)
        self._tell(job, 0)

    def hear(self, worker: AnyWorker, event: Event) -> Iterator[Outcome]:
        """Take note of what a worker tells; yields the outcome if that settles a picture."""
        match event:
            case Ready():
                self._idle.append(worker)
                self._size = max(self._size, event.workers)
            case Outcome():
                job = self._busy.pop(worker)
                self._idle.append(worker)
                if event.out_of_memory and self._tries[job] < TRIES:
                    self._tries[job] = TRIES - 1
                    self._alone.append(job)
                else:
                    yield from self._settle(job, event)
            case Died():
                yield from self._bury(worker, event.how)
            case TinySRError():
                raise event
            case share:
                self._tell(self._busy[worker], share)

    def _bury(self, worker: AnyWorker, how: str) -> Iterator[Outcome]:
        self.workers.remove(worker)
        job = self._busy.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        elif job is None:  # it was starting: another one would fare no better
            self._stillborn += 1
            if not self.workers:
                raise RequestError(f"No worker could be started: it {how}; try --workers 1.")
        elif self._tries[job] < TRIES:
            (self._waiting if self._tries[job] < TRIES - 1 else self._alone).append(job)
        else:
            error = f"{job.input}: the process that worked on it {how}, {TRIES} times; try it alone with --workers 1."
            yield from self._settle(job, Outcome(job.input, job.output, "failed", error=error))

    def _settle(self, job: Job, outcome: Outcome) -> Iterator[Outcome]:
        # A worker may know the files by other paths than the user.
        yield dataclasses.replace(outcome, input=job.input, output=job.output)
        self._tell(job, 1)

    def _tell(self, job: Job, share: float) -> None:
        """Report the progress of all pictures; what a dead worker had done is not taken back."""
        gained = max(0.0, share * self._bytes[job] - self._done[job])
        self._done[job] += gained
        self._all_done += gained
        self._report(job.input, min(1.0, self._all_done / self._all_bytes))
