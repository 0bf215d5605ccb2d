"""Workers that are actors of a Ray cluster: the same job on many machines that share their storage.

Plain actors rather than Ray Data: who does which picture is decided in `dispatch` for processes and clusters alike, a
picture that kills its workers is given up after a few tries, and nothing but Ray itself is needed.
"""

import dataclasses
import socket
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import RequestError, TinySRError, installs
from .dispatch import Died, Event, Ready, dispatch
from .job import Desk, Outcome, Report, Settings
from .plan import Job


def on_cluster(
    jobs: Sequence[Job], settings: Settings, report: Report, *, address: str, workers: int | None
) -> Iterator[Outcome]:
    """Upscale pictures on the machines of a Ray cluster, which have TinySR installed and see the same files.

    Args:
        jobs: the pictures.
        settings: how they are upscaled.
        report: called with the progress, in whole pictures.
        address: of the cluster's head, or "auto" for the one that runs on this machine.
        workers: how many pictures are worked on at the same time; None: one for each GPU, or else for each core.

    Raises:
        TinySRError: Ray is not installed, or does not answer; otherwise see `dispatch`.
    """
    with _connected(address) as ray:
        if Path(settings.model).is_file():
            settings = dataclasses.replace(settings, model=str(Path(settings.model).resolve()))
        yield from dispatch(jobs, report, _Actors(ray, settings, workers))


@contextmanager
def _connected(address: str) -> Generator[Any]:
    try:
        ray: Any = import_module("ray")  # not installed where types are checked
    except ImportError as error:
        raise RequestError(f"A cluster needs Ray; {installs('cluster')} adds it.") from error
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).strip().splitlines()[0].rstrip(".")
        raise RequestError(f"The Ray cluster {address} does not answer ({reason}); see `ray status` there.") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out at once, where Ray would try for minutes, that nobody listens. Raises OSError."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Station:
    """What lives in an actor."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings, self._workers = settings, workers
        self._desk: Desk | None = None

    def prepare(self) -> Ready | TinySRError:
        try:
            self._desk = Desk(self._settings)
        except TinySRError as error:
            return error
        return Ready(self._workers)

    def upscale(self, job: Job) -> Outcome:
        assert self._desk is not None
        return self._desk.upscale(job, lambda done, total: None)


class _Actor:
    """A `Worker` on some machine of the cluster."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle
        self.answer = handle.prepare.remote()
        """A reference to the next event, None where none is to come."""

    def upscale(self, job: Job) -> None:
        # Relative paths mean other files there.
        job = dataclasses.replace(job, input=job.input.absolute(), output=job.output.absolute())
        self.answer = self._handle.upscale.remote(job)

    def event(self) -> Event:
        """What it has told."""
        answer, self.answer = self.answer, None
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayError as error:  # its process, its machine, or the way to it
            self.stop()
            return Died(f"was lost ({type(error).__name__})")

    def stop(self) -> None:
        self._ray.kill(self._handle)


class _Actors:
    """The `Crew` of a cluster."""

    def __init__(self, ray: Any, settings: Settings, workers: int | None) -> None:
        self._ray, self._settings = ray, settings
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if settings.run.device in ("auto", "cuda") else 0
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self.size = workers or gpus or int(resources.get("CPU", 1))

    def hire(self) -> _Actor:
        actor = self._ray.remote(**self._needs)(_Station)
        return _Actor(self._ray, actor.remote(self._settings, self.size))

    def events(self, workers: Collection[_Actor]) -> Iterable[tuple[_Actor, Event]]:
        told = {worker.answer: worker for worker in workers if worker.answer is not None}
        for answer in self._ray.wait(list(told))[0]:
            yield told[answer], told[answer].event()
