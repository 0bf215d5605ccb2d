from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import pytest

from tinysr_core.errors import CheckpointError, RequestError
from tinysr_core.folders.dispatch import Died, Event, Ready, dispatch
from tinysr_core.folders.job import Outcome
from tinysr_core.folders.plan import Job

Script = Callable[[Job, int], Iterable[Event]]
"""What a worker tells about a picture, and the how-manieth time that it is begun."""


class Actor:
    """Does nothing, and tells what the play has for it."""

    def __init__(self, play: "Play", first: Event) -> None:
        self.play, self.lines, self.stopped = play, deque([first]), False

    def upscale(self, job: Job) -> None:
        self.play.begun.append(job.input.name)
        busy = sum(bool(actor.lines) for actor in self.play.actors)
        self.play.alone.append(busy == 0)
        self.lines.extend(self.play.script(job, self.play.begun.count(job.input.name)))

    def stop(self) -> None:
        self.stopped = True


class Play:
    def __init__(self, script: Script, size: int = 2, firsts: Iterator[Event] | None = None) -> None:
        self.script, self.size, self.firsts = script, size, firsts
        self.actors: list[Actor] = []
        self.begun: list[str] = []
        self.alone: list[bool] = []

    def hire(self) -> Actor:
        self.actors.append(Actor(self, next(self.firsts) if self.firsts else Ready(self.size)))
        return self.actors[-1]

    def events(self, workers: Collection[Actor]) -> Iterable[tuple[Actor, Event]]:
        told = [(worker, worker.lines.popleft()) for worker in workers if worker.lines]
        assert told, "nobody will ever tell anything"
        for worker, event in told:
            if isinstance(event, Died):
                worker.lines.clear()
        return told


JOBS = [Job(Path(f"{name}.png"), Path(f"{name}_x2.png"), "png") for name in "abcde"]


def done(job: Job, time: int = 1) -> Iterable[Event]:
    return [0.5, Outcome(job.input.absolute(), job.output.absolute(), "done")]


def perform(play: Play, report: Callable[[Path, float], None] = lambda picture, share: None) -> dict[str, Outcome]:
    outcomes = list(dispatch(JOBS, report, play))
    # Each once, by the name that the user gave.
    assert sorted(outcome.input for outcome in outcomes) == [job.input for job in JOBS]
    assert all(actor.stopped for actor in play.actors if actor.lines)
    return {outcome.input.stem: outcome for outcome in outcomes}


def test_every_picture_is_done_once_and_progress_only_grows() -> None:
    shares: list[float] = []
    play = Play(done)
    outcomes = perform(play, lambda picture, share: shares.append(share))
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert len(play.begun) == 5 and len(play.actors) == 2
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_no_more_workers_than_pictures_and_as_many_as_the_first_asks_for() -> None:
    play = Play(done, size=9)
    perform(play)
    assert len(play.actors) == 5
    play = Play(done, size=1, firsts=iter([Ready(3)] * 9))
    perform(play)
    assert len(play.actors) == 3


def test_a_picture_whose_worker_dies_is_done_again_after_the_others() -> None:
    def script(job: Job, time: int) -> Iterable[Event]:
        return [0.3, Died("fell")] if job.input.stem == "b" and time == 1 else done(job)

    play = Play(script)
    outcomes = perform(play)
    assert outcomes["b"].status == "done"
    assert play.begun == ["a.png", "b.png", "c.png", "d.png", "e.png", "b.png"]
    assert len(play.actors) == 3


def test_a_picture_that_kills_its_workers_is_given_up_the_last_time_alone() -> None:
    play = Play(lambda job, time: [Died("was killed by signal 9")] if job.input.stem == "b" else done(job))
    outcomes = perform(play)
    assert [name for name, outcome in outcomes.items() if outcome.status == "failed"] == ["b"]
    assert "b.png: the process that worked on it was killed by signal 9, 3 times" in (outcomes["b"].error or "")
    assert play.begun.count("b.png") == 3 and play.begun[-1] == "b.png" and play.alone[-1]


def test_what_does_not_fit_beside_others_is_done_alone() -> None:
    def script(job: Job, time: int) -> Iterable[Event]:
        refused = Outcome(job.input, job.output, "failed", error="too large", out_of_memory=True)
        return [refused] if job.input.stem in never or (job.input.stem == "a" and time == 1) else done(job)

    never: set[str] = set()
    play = Play(script)
    assert perform(play)["a"].status == "done"
    assert play.begun[-1] == "a.png" and play.alone[-1]
    never = {"a", "c"}
    play = Play(script)
    assert {name for name, outcome in perform(play).items() if outcome.status == "failed"} == never
    assert len(play.begun) == 7 and play.alone[-2:] == [True, True]


def test_a_worker_that_dies_before_it_is_ready_is_not_replaced() -> None:
    play = Play(done, size=3, firsts=iter([Ready(3), Died("fell"), Ready(3)]))
    perform(play)
    assert len(play.actors) == 3
    with pytest.raises(RequestError, match="No worker could be started: it fell"):
        perform(Play(done, size=2, firsts=iter([Died("fell")] * 2)))


def test_a_worker_that_dies_while_it_waits_is_forgotten() -> None:
    play = Play(lambda job, time: [*done(job), Died("fell")])
    assert {outcome.status for outcome in perform(play).values()} == {"done"}


def test_what_is_wrong_with_the_job_is_said_once_and_workers_end() -> None:
    play = Play(done, size=2, firsts=iter([Ready(2), CheckpointError("There is no model.")]))
    with pytest.raises(CheckpointError):
        perform(play)
    assert all(actor.stopped for actor in play.actors)


def test_cancelling_ends_the_workers() -> None:
    def stop(picture: Path, share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    play = Play(done)
    with pytest.raises(KeyboardInterrupt):
        perform(play, stop)
    assert all(actor.stopped for actor in play.actors)
