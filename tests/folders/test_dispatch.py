from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tinysr_core.errors import CheckpointError, WorkerError
from tinysr_core.folders.dispatch import Died, Event, Ready, dispatch
from tinysr_core.folders.naming import Job
from tinysr_core.folders.outcome import Outcome
from tinysr_core.folders.progress import JobProgress, ProgressTracker

Script = Callable[[Job, int], Iterable[Event]]
"""What a worker reports about a picture at its nth try."""


class FakeWorker:
    """Does nothing, and reports the events of the script."""

    def __init__(self, pool: "FakePool", first: Event) -> None:
        self.pool, self.events, self.stopped = pool, deque([first]), False

    def upscale(self, job: Job) -> None:
        self.pool.begun.append(job.input.name)
        busy = sum(bool(worker.events) for worker in self.pool.workers)
        self.pool.alone.append(busy == 0)
        self.events.extend(self.pool.script(job, self.pool.begun.count(job.input.name)))

    def stop(self) -> None:
        self.stopped = True


class FakePool:
    def __init__(self, script: Script, size: int = 2, firsts: Iterator[Event] | None = None) -> None:
        self.script, self.size, self.firsts = script, size, firsts
        self.workers: list[FakeWorker] = []
        self.begun: list[str] = []
        self.alone: list[bool] = []

    def start_worker(self) -> FakeWorker:
        self.workers.append(FakeWorker(self, next(self.firsts) if self.firsts else Ready(self.size)))
        return self.workers[-1]

    def wait(self, workers: Sequence[FakeWorker]) -> list[tuple[FakeWorker, Event]]:
        told = [(worker, worker.events.popleft()) for worker in workers if worker.events]
        assert told, "no worker will ever report anything"
        for worker, event in told:
            if isinstance(event, Died):
                worker.events.clear()
        return told


JOBS = [Job(Path(f"{name}.png"), Path(f"{name}_x2.png"), "png") for name in "abcde"]


def done(job: Job, time: int = 1) -> Iterable[Event]:
    return [0.5, Outcome(job.input.absolute(), job.output.absolute(), "done")]


def run(pool: FakePool, progress: JobProgress = lambda picture, share: None) -> dict[str, Outcome]:
    outcomes = list(dispatch(JOBS, pool, ProgressTracker(JOBS, progress)))
    # Each picture once, under the path that the user gave.
    assert sorted(outcome.input for outcome in outcomes) == [job.input for job in JOBS]
    assert all(worker.stopped for worker in pool.workers if worker.events)
    return {outcome.input.stem: outcome for outcome in outcomes}


def test_every_picture_is_done_once_and_progress_only_grows() -> None:
    shares: list[float] = []
    pool = FakePool(done)
    outcomes = run(pool, lambda picture, share: shares.append(share))
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert len(pool.begun) == 5 and len(pool.workers) == 2
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_no_more_workers_than_pictures_and_as_many_as_the_first_asks_for() -> None:
    pool = FakePool(done, size=9)
    run(pool)
    assert len(pool.workers) == 5
    pool = FakePool(done, size=1, firsts=iter([Ready(3)] * 9))
    run(pool)
    assert len(pool.workers) == 3


def test_a_picture_whose_worker_dies_is_tried_again_after_the_others() -> None:
    def script(job: Job, time: int) -> Iterable[Event]:
        return [0.3, Died("fell")] if job.input.stem == "b" and time == 1 else done(job)

    pool = FakePool(script)
    outcomes = run(pool)
    assert outcomes["b"].status == "done"
    assert pool.begun == ["a.png", "b.png", "c.png", "d.png", "e.png", "b.png"]
    assert len(pool.workers) == 3


def test_a_picture_that_kills_its_workers_is_given_up_the_last_time_alone() -> None:
    pool = FakePool(lambda job, time: [Died("was killed by signal 9")] if job.input.stem == "b" else done(job))
    outcomes = run(pool)
    assert [name for name, outcome in outcomes.items() if outcome.status == "failed"] == ["b"]
    assert "b.png: the process that worked on it was killed by signal 9, 3 times" in (outcomes["b"].error or "")
    assert pool.begun.count("b.png") == 3 and pool.begun[-1] == "b.png" and pool.alone[-1]


def test_a_picture_that_does_not_fit_beside_others_is_tried_alone() -> None:
    def script(job: Job, time: int) -> Iterable[Event]:
        refused = Outcome(job.input, job.output, "failed", error="too large", cause="memory")
        return [refused] if job.input.stem in never or (job.input.stem == "a" and time == 1) else done(job)

    never: set[str] = set()
    pool = FakePool(script)
    assert run(pool)["a"].status == "done"
    assert pool.begun[-1] == "a.png" and pool.alone[-1]
    never = {"a", "c"}
    pool = FakePool(script)
    assert {name for name, outcome in run(pool).items() if outcome.status == "failed"} == never
    assert len(pool.begun) == 7 and pool.alone[-2:] == [True, True]


def test_a_worker_that_dies_before_it_is_ready_is_not_replaced() -> None:
    pool = FakePool(done, size=3, firsts=iter([Ready(3), Died("fell"), Ready(3)]))
    run(pool)
    assert len(pool.workers) == 3
    with pytest.raises(WorkerError, match="No worker could be started: it fell"):
        run(FakePool(done, size=2, firsts=iter([Died("fell")] * 2)))


def test_a_worker_that_dies_while_it_waits_is_forgotten() -> None:
    pool = FakePool(lambda job, time: [*done(job), Died("fell")])
    assert {outcome.status for outcome in run(pool).values()} == {"done"}


def test_an_error_of_the_job_is_raised_once_and_workers_end() -> None:
    pool = FakePool(done, size=2, firsts=iter([Ready(2), CheckpointError("There is no model.")]))
    with pytest.raises(CheckpointError):
        run(pool)
    assert all(worker.stopped for worker in pool.workers)


def test_cancelling_ends_the_workers() -> None:
    def stop(picture: Path, share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    pool = FakePool(done)
    with pytest.raises(KeyboardInterrupt):
        run(pool, stop)
    assert all(worker.stopped for worker in pool.workers)
