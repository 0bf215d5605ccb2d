"""Workers that are processes of this machine. Each loads its own networks."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from ..engines import usable_gpus
from ..errors import TinySRError
from ..util import available_bytes, cores
from .dispatch import Died, Event, Ready
from .file_upscaler import FileUpscaler
from .naming import Job
from .settings import Settings

WORKER_BYTES = 1_000_000_000
"""Memory, and GPU memory, that a worker needs for a photograph of some megapixels."""
WORKERS_PER_GPU = 4
"""While one worker waits for the GPU, others read and write pictures. A GPU context needs half a gigabyte."""
MOST_WORKERS = 60 if sys.platform == "win32" else 1000
"""Windows can wait for at most 63 objects at a time."""


@dataclass(frozen=True)
class _Task:
    """What a worker process is started with."""

    settings: Settings
    number: int
    """Number of the worker, from 0."""
    workers: int | None
    """Number of workers that the user asked for; None: not given."""
    threads: int
    """Threads of the network in this worker."""


class _Process:
    """A `Worker` in a process of its own."""

    def __init__(self, task: _Task) -> None:
        context = multiprocessing.get_context("spawn")  # fork would copy locks that other threads hold
        self.connection, its_end = context.Pipe()
        self._process = context.Process(target=_work, args=(its_end, task), daemon=True)
        with _interrupts_ignored():
            self._process.start()
        its_end.close()  # so that the pipe ends when the process ends

    def upscale(self, job: Job) -> None:
        with suppress(OSError):  # it has died; its next event says so
            self.connection.send(job)

    def event(self) -> Event:
        """Wait for its next event."""
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


class ProcessPool:
    """A `WorkerPool` of processes.

    Args:
        settings: how pictures are upscaled.
        workers: number of processes; None: as many as use all resources and fit into memory.
        jobs: the number of pictures.
    """

    def __init__(self, settings: Settings, workers: int | None, jobs: int) -> None:
        workers = workers and min(workers, MOST_WORKERS)
        self.size = workers or 1
        self._settings, self._workers = settings, workers
        self._threads = max(1, cores() // min(workers or cores(), jobs))
        self._started = 0

    def start_worker(self) -> _Process:
        self._started += 1
        return _Process(_Task(self._settings, self._started - 1, self._workers, self._threads))

    def wait(self, workers: Sequence[_Process]) -> list[tuple[_Process, Event]]:
        ready = wait([worker.connection for worker in workers])
        return [(worker, worker.event()) for worker in workers if worker.connection in ready]


def _work(connection: Connection, task: _Task) -> None:
    """The worker process: load networks, then upscale picture after picture until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(task.threads)  # read by the engines when they are loaded
    try:
        settings, gpus = _own_gpu(task.settings, task.number)
        upscaler = FileUpscaler(settings)
    except TinySRError as error:
        connection.send(error)
        return
    with suppress(EOFError, OSError):  # the parent has ended
        connection.send(Ready(task.workers or _useful_workers(gpus)))
        while True:
            connection.send(upscaler.upscale(connection.recv(), lambda done, total: connection.send(done / total)))


def _end_with_parent() -> None:
    """End this process at once when its parent ends, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _own_gpu(settings: Settings, number: int) -> tuple[Settings, tuple[str, ...]]:
    """The settings with one of the usable GPUs as the device, and all usable GPUs."""
    options = settings.network
    gpus = usable_gpus(options.engine, options.device, options.precision)
    return replace(settings, network=replace(options, device=gpus[number % len(gpus)])) if gpus else settings, gpus


def _useful_workers(gpus: Sequence[str]) -> int:
    """On CPUs one worker per core. On GPUs several per GPU: some decode and encode while another computes."""
    limits = [cores(), MOST_WORKERS]
    memory = available_bytes()
    if memory is not None:
        limits.append(1 + memory // WORKER_BYTES)
    if gpus:
        limits.append(sum(min(WORKERS_PER_GPU, 1 + _free_bytes(gpu) // WORKER_BYTES) for gpu in gpus))
    return min(limits)


def _free_bytes(gpu: str) -> int:
    """Free memory of a GPU; 0 where torch does not report it."""
    import torch

    ask = getattr(getattr(torch, gpu.partition(":")[0], None), "mem_get_info", None)
    return ask(gpu)[0] if ask else 0


@contextmanager
def _interrupts_ignored() -> Generator[None]:
    """Let processes started in the block ignore Ctrl-C, which a terminal sends to all: this process ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set signal handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
