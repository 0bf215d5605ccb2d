"""Linear filters along one axis of a picture, for numpy arrays and torch tensors alike.

A filter whose samples depend on a few neighbours (resize, blur) is a banded matrix. It is applied in blocks of rows,
each a product with a small dense matrix that every BLAS and GPU is good at.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..util import Image, Progress, in_order

BLOCK = 64
"""Output samples of one small product: few enough that little of the dense matrix is zero, enough for BLAS."""
SLAB = 1 << 21
"""Output samples of a slab of rows, beyond which nothing is held but the picture and its result."""
PART = 1 << 18
"""Samples that go through several passes together, so that what lies between two of them stays in the cache."""


@dataclass(frozen=True)
class Bands:
    """A banded matrix: output `i` is the sum of `weights[i, t] * input[first[i] + t]`. `first` never decreases.

    Every `first[i] + t` lies inside the input; where fewer taps are needed, weights are 0.
    """

    first: NDArray[np.intp]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def taps(self) -> int:
        """Width of the band."""
        return self.weights.shape[1]

    def inputs(self, start: int, stop: int) -> tuple[int, int]:
        """Range of the inputs that the outputs `start` to `stop` depend on."""
        return int(self.first[start]), int(self.first[stop - 1]) + self.taps

    def blocks(self, start: int, stop: int, like: Any) -> list[tuple[slice, slice, Any]]:
        """Outputs `start` to `stop` in blocks: (outputs, inputs, matrix [outputs, inputs] of the kind of `like`)."""
        result: list[tuple[slice, slice, Any]] = []
        for a in range(start, stop, BLOCK):
            b = min(a + BLOCK, stop)
            low, high = self.inputs(a, b)
            dense = np.zeros((b - a, high - low))
            np.put_along_axis(dense, self.first[a:b, None] - low + np.arange(self.taps), self.weights[a:b], 1)
            result.append((slice(a, b), slice(low, high), constant(dense, like)))
        return result


def filter_rows(bands: Bands, image: Image, start: int, stop: int, offset: int = 0) -> Image:
    """Rows `start` to `stop` of the filtered picture. Row 0 of `image` [B,C,h,W] is input row `offset`.

    Half precision gives single.
    """
    low, high = bands.inputs(start, stop)
    image = single(image[:, :, low - offset : high - offset])
    result = empty(image, (*image.shape[:2], stop - start, image.shape[3]))
    for outputs, inputs, matrix in bands.blocks(start, stop, image):
        rows = image[:, :, inputs.start - low : inputs.stop - low]
        result[:, :, outputs.start - start : outputs.stop - start] = matrix @ rows
    return result


def column_filter(bands: Bands, like: Image) -> Callable[[Image], Image]:
    """A function [B,C,h,w] -> [B,C,h,W] that filters all columns; its matrices are made once, for slab after slab.

    Half precision gives single.
    """
    blocks = bands.blocks(0, len(bands), like)

    def apply(image: Image) -> Image:
        image = single(image)
        result = empty(image, (*image.shape[:3], len(bands)))
        for outputs, inputs, matrix in blocks:
            result[..., outputs] = image[..., inputs] @ matrix.T
        return result

    return apply


def require_picture(image: Any) -> None:
    """Refuse what is not a float array [B,C,H,W] with at least one pixel.

    Raises:
        RequestError: it is something else.
    """
    if image.ndim != 4 or 0 in image.shape or "float" not in str(image.dtype):
        raise RequestError(
            "Pictures must be float arrays [batch, channels, height, width] with at least one pixel, "
            f"not {image.dtype} {list(image.shape)}."
        )


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
    """Make rows `a` to `b` of `result` [B,C,H,W] what `compute(source, (a, b))` gives, slab by slab.

    The channels of a numpy array are worked on one after the other, and each by several threads. Torch works on all
    channels at once, on a CPU with one thread.

    Args:
        result: may be `source` itself: rows are replaced when no slab needs them any more.
        source: [B,C,h,w].
        width: samples in a row of the largest array that `compute` makes.
        inputs: range of the rows of `source` that rows `a` to `b` depend on.
        compute: must treat each channel alone.
        progress: called after each slab.
    """
    height = result.shape[2]
    spans = slabs(result, height, width)
    free = [inputs(*span)[0] if result is source else height for span in spans[1:]] + [height]
    """Up to which row of `result` nothing is needed any more once a slab is done."""
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
    """On a CPU, keep torch from sharing work among its threads; numpy and GPUs are left alone.

    Slabs are hundreds of small products. Threads that share each of them wait for each other after each: where another
    program keeps one of two cores busy, a resize then took 3.7 s instead of 0.06 s. Python threads with a slab each
    wait for the interpreter's lock as often. All cores idle, two threads save a quarter of the time.
    """
    if isinstance(image, np.ndarray) or image.device.type != "cpu":
        yield
        return
    import torch  # here is a tensor, so torch is loaded

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _channels(image: Any) -> list[Any]:
    """Indices of what is worked on at a time."""
    if not isinstance(image, np.ndarray):
        return [...]
    return [np.s_[b : b + 1, c : c + 1] for b, c in itertools.product(*map(range, image.shape[:2]))]


def in_parts(function: Callable[[Any], Any], image: Any, axis: int) -> Any:
    """`function` of a picture of which it treats all positions along `axis` alone, a part of `PART` samples at a time.

    A graphics card gets the picture as a whole.
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


def cut(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Index of a range along one axis of an array."""
    return (*(slice(None),) * axis, slice(start, stop))


def single(image: Any) -> Any:
    """The same with at least single precision: half floats are widened, others are returned as they are."""
    if isinstance(image, np.ndarray):
        return image.astype(np.float32) if image.itemsize < 4 else image
    return image.float() if image.element_size() < 4 else image


def constant(values: NDArray[np.float64], like: Any) -> Any:
    """`values` as an array of the kind and device of `like`, in at least single precision."""
    like = single(like[:0])
    return values.astype(like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(values)


def empty(like: Any, shape: tuple[int, ...]) -> Any:
    """An array of the kind, device and precision of `like`, its values unset."""
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)
