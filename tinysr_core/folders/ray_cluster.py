"""Workers that are actors of a Ray cluster, whose machines share their storage.

Actors are used instead of Ray Data, so that `dispatch` serves processes and clusters alike: a picture that kills its
workers fails after a few tries.
"""

import dataclasses
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import TinySRError, WorkerError, installs
from .dispatch import Died, Event, Ready
from .file_upscaler import FileUpscaler
from .naming import Job
from .outcome import Outcome
from .settings import Settings


@contextmanager
def connected(address: str) -> Generator[Any]:
    """Yield the module `ray`, connected to the cluster at `address`: HOST:PORT of its head, or auto.

    Raises:
        WorkerError: Ray is not installed, or the cluster does not answer.
    """
    try:
        ray: Any = import_module("ray")  # an optional package
    except ImportError as error:
        raise WorkerError(f"A cluster needs Ray; {installs('cluster')} adds it.") from error
    try:
        _require_listener(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).strip().splitlines()[0].rstrip(".")
        raise WorkerError(f"The Ray cluster {address} does not answer ({reason}); see `ray status` there.") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise OSError at once if nothing listens at `address`. Ray would retry for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _RemoteUpscaler:
    """The class of the actors."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings, self._workers = settings, workers
        self._upscaler: FileUpscaler | None = None

    def prepare(self) -> Ready | TinySRError:
        try:
            self._upscaler = FileUpscaler(self._settings)
        except TinySRError as error:
            return error
        return Ready(self._workers)

    def upscale(self, job: Job) -> Outcome:
        assert self._upscaler is not None
        return self._upscaler.upscale(job, lambda done, total: None)


class _Actor:
    """A `Worker` on a machine of the cluster."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle
        self.answer = handle.prepare.remote()
        """A reference to the next event; None: no event is expected."""

    def upscale(self, job: Job) -> None:
        # The actor has another working directory.
        backup = job.backup and job.backup.absolute()
        job = dataclasses.replace(job, input=job.input.absolute(), output=job.output.absolute(), backup=backup)
        self.answer = self._handle.upscale.remote(job)

    def event(self) -> Event:
        """The event that it has reported."""
        answer, self.answer = self.answer, None
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayError as error:  # its process, its machine or the network failed
            self.stop()
            return Died(f"was lost ({type(error).__name__})")

    def stop(self) -> None:
        self._ray.kill(self._handle)


class RayPool:
    """A `WorkerPool` of actors on a Ray cluster, whose machines have TinySR installed and see the same files.

    Args:
        ray: the module, connected to the cluster.
        settings: how pictures are upscaled.
        workers: number of actors; None: one per GPU, or one per core if there is no GPU.
    """

    def __init__(self, ray: Any, settings: Settings, workers: int | None) -> None:
        if Path(settings.model).is_file():
            settings = dataclasses.replace(settings, model=str(Path(settings.model).resolve()))
        self._ray, self._settings = ray, settings
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if settings.network.device in ("auto", "cuda") else 0
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self.size = workers or gpus or int(resources.get("CPU", 1))

    def start_worker(self) -> _Actor:
        actor = self._ray.remote(**self._needs)(_RemoteUpscaler)
        return _Actor(self._ray, actor.remote(self._settings, self.size))

    def wait(self, workers: Sequence[_Actor]) -> list[tuple[_Actor, Event]]:
        waiting = {worker.answer: worker for worker in workers if worker.answer is not None}
        return [(waiting[answer], waiting[answer].event()) for answer in self._ray.wait(list(waiting))[0]]
