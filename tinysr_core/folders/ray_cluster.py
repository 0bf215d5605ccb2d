"""Workers that are actors of a Ray cluster: the same job on many machines that share their storage.

Plain actors rather than Ray Data: who does which picture is decided in `dispatch` for processes and clusters alike, a
picture that kills its workers is given up after a few tries, and nothing but Ray itself is needed.
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
    """Yields the module `ray`, connected to the cluster at `address`: its head's HOST:PORT, or auto.

    Raises:
        WorkerError: Ray is not installed, or the cluster does not answer.
    """
    try:
        ray: Any = import_module("ray")  # not installed where types are checked
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
    """Find out at once, where Ray would try for minutes, that nothing listens there. Raises OSError."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _RemoteUpscaler:
    """What runs in an actor."""

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
    """A `Worker` on some machine of the cluster."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle
        self.answer = handle.prepare.remote()
        """A reference to the next event, None where none is to come."""

    def upscale(self, job: Job) -> None:
        # Relative paths mean other files there.
        backup = job.backup and job.backup.absolute()
        job = dataclasses.replace(job, input=job.input.absolute(), output=job.output.absolute(), backup=backup)
        self.answer = self._handle.upscale.remote(job)

    def event(self) -> Event:
        """What it has reported."""
        answer, self.answer = self.answer, None
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayError as error:  # its process, its machine, or the way to it
            self.stop()
            return Died(f"was lost ({type(error).__name__})")

    def stop(self) -> None:
        self._ray.kill(self._handle)


class RayPool:
    """A `WorkerPool` of actors on a Ray cluster, whose machines have TinySR installed and see the same files.

    Args:
        ray: the module, connected.
        settings: how pictures are upscaled.
        workers: how many actors; None: one for each GPU, or else for each core.
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
