"""Threads for work that does not hold Python's lock: numpy on large arrays, compression. Needs no torch.

Our programs set OPENBLAS_NUM_THREADS to 1 before they import numpy: OpenBLAS's threads contend badly on a busy machine
and multiply with these.
"""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

MOST = 8
"""More threads would wait for memory, and each holds some."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use: those of its affinity mask, but no more than its container is given."""
    if sys.platform == "linux":
        quotas = _cpu_quotas(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
        return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in quotas)])
    return os.cpu_count() or 1


def _cpu_quotas(root: Path, membership: Path) -> Iterator[float]:
    """The limits in cores of the Linux control groups that a process is in, versions 1 and 2.

    In a container, `membership` may name a folder of the host, and the limit stands in `root` itself.
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
            except (OSError, ValueError):  # no such limit, or none is set: "max"
                continue


def thread_count() -> int:
    """How many threads work at the same time: OMP_NUM_THREADS of them, else one for each core, but at most `MOST`."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(max(1, int(asked)) if asked.isdecimal() else cores(), MOST)


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `function` makes of each item, in the order of the items; several threads work ahead.

    They are never ahead by more than one item for each, so that few results wait in memory.
    """
    count = thread_count()
    if count == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(count) as pool:
        begun: deque[Future[Result]] = deque()
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
