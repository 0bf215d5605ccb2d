"""Threads for work that releases Python's global lock: numpy on large arrays, compression. Needs no torch.

The command line and the GIMP server set OPENBLAS_NUM_THREADS to 1 before they import numpy: OpenBLAS's threads contend
badly on a busy machine and multiply with these.
"""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

MAX_THREADS = 8
"""More threads would wait for memory bandwidth, and each one takes memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use: those of its affinity mask, limited by the quota of its container."""
    if sys.platform == "linux":
        quotas = _cpu_quotas(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
        return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in quotas)])
    return os.cpu_count() or 1


def _cpu_quotas(root: Path, membership: Path) -> Iterator[float]:
    """The limits, in cores, of the Linux control groups that a process belongs to, versions 1 and 2.

    Args:
        root: where the control groups are mounted.
        membership: the file that names the groups of the process. In a container it may name a folder of the host; the
            limit is then in `root` itself.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":
            base, names = root, ("cpu.max",)
        elif "cpu" in controllers.split(","):
            base, names = root / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        folder = base / group.lstrip("/")
        for place in {folder, *folder.parents}.difference(base.parents) | {base}:
            try:
                quota, period, *_ = " ".join((place / name).read_text() for name in names).split()
                if float(quota) > 0:
                    yield float(quota) / float(period)
            except (OSError, ValueError):  # no such file, or no limit: "max"
                continue


def thread_count() -> int:
    """How many threads run at the same time: OMP_NUM_THREADS if it is set, else one per core; at most `MAX_THREADS`."""
    requested = os.environ.get("OMP_NUM_THREADS", "")
    return min(max(1, int(requested)) if requested.isdecimal() else cores(), MAX_THREADS)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None, ahead: int = 1
) -> Generator[Result]:
    """Apply `function` to each item in several threads; yield the results in the order of the items.

    Few results wait in memory. If the generator is closed, items that have not begun are left out.

    Args:
        threads: how many; 1: the thread of the caller; None: `thread_count()`.
        ahead: how many more items than threads are begun. With 0, no new item begins before the caller has handled a
            result, and fewer run on when the generator is closed.
    """
    count = threads or thread_count()
    if count == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(count) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) >= count + ahead:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
