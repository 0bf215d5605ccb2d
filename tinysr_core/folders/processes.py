"""Workers that are processes of this machine, each with networks of its own."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from ..engines import usable_gpus
from ..errors import TinySRError
from ..util import cores
from .dispatch import Died, Event, Ready, dispatch
from .job import Desk, Outcome, Report, Settings, one_by_one
from .memory import available_bytes
from .plan import Job

WORKER_BYTES = 1_000_000_000
"""Memory, and memory of a GPU, that a worker takes with a photograph of some megapixels in work."""
WORKERS_PER_GPU = 4
"""While one waits for the GPU, others read and write pictures; each holds half a gigabyte for its context there."""
MOST_WORKERS = 60 if sys.platform == "win32" else 1000
"""Windows waits for no more than 63 things at a time."""


def in_processes(jobs: Sequence[Job], settings: Settings, report: Report, *, workers: int | None) -> Iterator[Outcome]:
    """Upscale pictures in several processes.

    Args:
        jobs: the pictures.
        settings: how they are upscaled.
        report: called with the progress.
        workers: how many processes; None: as many as keep the machine busy and fit into its memory.

    Raises:
        TinySRError: see `dispatch`.
    """
    if workers == 1 or len(jobs) == 1:
        yield from one_by_one(jobs, settings, report)
    else:
        workers = workers and min(workers, MOST_WORKERS)
        threads = max(1, cores() // min(workers or cores(), len(jobs)))
        yield from dispatch(jobs, report, _Processes(settings, workers, threads))


@dataclass(frozen=True)
class _Task:
    """What a worker has to know."""

    settings: Settings
    number: int
    """Counts workers from 0."""
    workers: int | None
    """How many the user wants."""
    threads: int


class _Process:
    """A `Worker` in a process of its own."""

    def __init__(self, task: _Task) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        self.connection, its_end = context.Pipe()
        self._process = context.Process(target=_work, args=(its_end, task), daemon=True)
        with _deaf_to_ctrl_c():
            self._process.start()
        its_end.close()  # so that the end of the process is the end of the pipe

    def upscale(self, job: Job) -> None:
        with suppress(OSError):  # it has died, as its next event tells
            self.connection.send(job)

    def event(self) -> Event:
        """What it tells next; waits for it."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            return Died(f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


class _Processes:
    """The `Crew` of this machine. Where its size is left open, the first worker tells what there is to work with."""

    def __init__(self, settings: Settings, workers: int | None, threads: int) -> None:
        self.size = workers or 1
        self._settings, self._workers, self._threads = settings, workers, threads
        self._hired = 0

    def hire(self) -> _Process:
        self._hired += 1
        return _Process(_Task(self._settings, self._hired - 1, self._workers, self._threads))

    def events(self, workers: Collection[_Process]) -> Iterable[tuple[_Process, Event]]:
        ready = wait([worker.connection for worker in workers])
        for worker in workers:
            if worker.connection in ready:
                yield worker, worker.event()


def _work(connection: Connection, task: _Task) -> None:
    """What a worker's process does: networks first, then one picture after the other until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(task.threads)  # read by the engines when they are loaded
    try:
        settings, gpus = _own_gpu(task.settings, task.number)
        desk = Desk(settings)
    except TinySRError as error:
        connection.send(error)
        return
    with suppress(EOFError, OSError):  # who waits for the results has gone
        connection.send(Ready(task.workers or _useful_workers(gpus)))
        while True:
            connection.send(desk.upscale(connection.recv(), lambda done, total: connection.send(done / total)))


def _own_gpu(settings: Settings, number: int) -> tuple[Settings, tuple[str, ...]]:
    """The settings with one of the GPUs as the device, and all GPUs that there are to work with."""
    run = settings.run
    gpus = usable_gpus(run.engine, run.device, run.precision)
    return replace(settings, run=replace(run, device=gpus[number % len(gpus)])) if gpus else settings, gpus


def _useful_workers(gpus: Sequence[str]) -> int:
    """On CPUs as many as there are cores; on GPUs, more than one for each, which decode and encode meanwhile."""
    limits = [cores(), MOST_WORKERS]
    memory = available_bytes()
    if memory is not None:
        limits.append(1 + memory // WORKER_BYTES)
    if gpus:
        limits.append(sum(min(WORKERS_PER_GPU, 1 + _free_bytes(gpu) // WORKER_BYTES) for gpu in gpus))
    return min(limits)


def _free_bytes(gpu: str) -> int:
    """Free memory of a GPU; 0 where torch does not tell."""
    import torch

    ask = getattr(getattr(torch, gpu.partition(":")[0], None), "mem_get_info", None)
    return ask(gpu)[0] if ask else 0


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Processes started here do not hear Ctrl-C, which a terminal sends to all: this process ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
