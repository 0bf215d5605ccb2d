"""Compute a picture in slabs of rows and in parts that fit the cache."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ..util import Progress, in_order
from .arrays import cut, empty
from .banded_matrix import BLOCK

SLAB = 1 << 21
"""Output samples of a slab of rows. Besides the picture and its result, only slabs are in memory."""
PART = 1 << 18
"""Samples that go through several passes together, so that intermediate results stay in the cache."""


def slabs(image: Any, height: int, width: int) -> list[tuple[int, int]]:
    """Ranges of rows of a result [B,C,height,width], each of about `SLAB` samples."""
    row = image.shape[0] * image.shape[1] * width
    step = BLOCK * max(1, SLAB // (BLOCK * row))
    return [(a, min(a + step, height)) for a in range(0, height, step)]


def fill(
    result: Any,
    source: Any,
    width: int,
    inputs: Callable[[int, int], tuple[int, int]],
    compute: Callable[[Any, tuple[int, int]], Any],
    progress: Progress | None = None,
) -> None:
    """Compute `result` [B,C,H,W] slab by slab: rows `a` to `b` become `compute(source, (a, b))`.

    The channels of a numpy array are processed one after the other, each in several threads. Torch processes all
    channels at once, on a CPU in one thread.

    Args:
        result: may be `source` itself. Rows are replaced when no later slab needs them.
        source: [B,C,h,w].
        width: samples in a row of the largest array that `compute` makes.
        inputs: range of the rows of `source` that rows `a` to `b` depend on.
        compute: must process each channel independently.
        progress: called after each slab.
    """
    height = result.shape[2]
    spans = slabs(result, height, width)
    # The row up to which `source` is not needed any more after each slab.
    free = [inputs(*span)[0] if result is source else height for span in spans[1:]] + [height]
    parts = _channels(source)
    finished = itertools.count(1)
    with _one_torch_thread(source):
        for channels in parts:
            target, work = result[channels], partial(compute, source[channels])
            waiting: deque[tuple[int, int, Any]] = deque()
            done = in_order(work, spans) if isinstance(source, np.ndarray) else map(work, spans)
            for span, rows, reached in zip(spans, done, free, strict=True):
                waiting.append((*span, rows))
                while waiting and waiting[0][1] <= reached:
                    start, stop, values = waiting.popleft()
                    target[:, :, start:stop] = values
                if progress is not None:
                    progress(next(finished), len(parts) * len(spans))


@contextmanager
def _one_torch_thread(image: Any) -> Generator[None]:
    """Limit torch to one thread on a CPU. Does not affect numpy and GPUs.

    A slab needs hundreds of small products, and threads that share them synchronise after each. With another program
    busy on one of two cores, a resize took 3.7 s instead of 0.06 s. Python threads with one slab each contend for the
    interpreter lock as often. On an idle machine, two threads would save a quarter of the time.
    """
    if isinstance(image, np.ndarray) or image.device.type != "cpu":
        yield
        return
    import torch  # loaded already: `image` is a tensor

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _channels(image: Any) -> list[Any]:
    """Indices of the channels that are processed together."""
    if not isinstance(image, np.ndarray):
        return [...]
    return [np.s_[b : b + 1, c : c + 1] for b, c in itertools.product(*map(range, image.shape[:2]))]


def in_parts(function: Callable[[Any], Any], image: Any, axis: int) -> Any:
    """Apply `function` to parts of about `PART` samples along `axis`, and join the results.

    `function` must process each position along `axis` independently. On a GPU the picture is one part.
    """
    length = image.shape[axis]
    step = max(1, PART * length // math.prod(image.shape))
    if step >= length or not (isinstance(image, np.ndarray) or image.device.type == "cpu"):
        return function(image)
    first = function(image[cut(axis, 0, step)])
    shape = list(first.shape)
    shape[axis] = length
    result = empty(first, tuple(shape))
    result[cut(axis, 0, step)] = first
    for start in range(step, length, step):
        result[cut(axis, start, start + step)] = function(image[cut(axis, start, start + step)])
    return result
