"""Threads for work that does not hold Python's lock: numpy on large arrays, compression. Needs no torch.

Programs set OPENBLAS_NUM_THREADS to 1 before they import numpy: its own threads for matrix products wait for each other
so often that, on a machine which has anything else to do, the product takes many times as long; and where these threads
use it, or several processes, there would be too many of them.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST = 8
"""More threads would wait for memory, and each holds some."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
