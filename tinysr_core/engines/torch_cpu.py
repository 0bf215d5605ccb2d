"""Run the network on a CPU in bands of rows: all layers of one band before the next band.

The features between two layers are then a few rows, which stay in the cache. Each layer keeps the last rows of its
input for the next band, so that nothing is computed twice.

Each thread has its own strip of the picture. If threads shared each band, they would wait for each other after each
layer. On a busy machine that takes several times as long.
"""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import TinySR, skip_kernel
from ..util import cores
from .tiling import Span

BAND_PIXELS = 8192
"""LR pixels of a band: 2 MB of features between two layers in fp32. On two cores with 1 MB of cache each, 1024 x 1024
pixels took 2.89 s in fp32 and 1.61 s in bf16 with 4096, 2.78 and 1.41 s with 8192, 2.63 and 1.49 s with 16384."""
SMALLEST_STRIP = 64
"""LR rows of a strip. With fewer, the halo costs more than another thread gains."""

Features = Iterable[tuple[Tensor, Tensor]]
"""Features of the head, and of the trunk before the gate, for each band of rows."""


def run_in_bands(model: TinySR, image: Tensor, gate: Tensor | None, band_pixels: int = BAND_PIXELS) -> Tensor:
    """`model(image, gate)` for pictures [B,3,h,w] on the CPU, with at most as many threads as torch is set to.

    Several threads may call this at the same time.
    """
    if len(image) > 1:  # a GPU failed on the batch
        gates = [None] * len(image) if gate is None else gate.split(1)
        pairs = zip(image.split(1), gates, strict=True)
        return torch.cat([run_in_bands(model, one, own, band_pixels) for one, own in pairs])
    height, width = image.shape[2:]
    scale = model.config.scale
    rows = max(1, band_pixels // width)
    limit = _openmp_limit()
    count = min(_threads(limit), max(1, height // SMALLEST_STRIP))
    strips = _strips(Span(0, height), count)
    seen = [strip.grown(model.config.halo, height) for strip in strips]
    parts = [image[:, :, span.slice] for span in seen]
    features: list[Features] = [_features(model, part, rows) for part in parts]
    result = image.new_empty(1, 3, scale * height, scale * width)
    with ThreadPoolExecutor(count, initializer=_start_worker, initargs=(limit,)) as pool:
        if model.attention is not None and gate is None:  # the gate needs the features of all rows
            features = list(pool.map(list, features))
            inner = [strip.within(span) for strip, span in zip(strips, seen, strict=True)]
            total = torch.stack(list(pool.map(_sum, features, inner))).sum(0)
            gate = model.attention(total / (height * width))
        enlarged = pool.map(partial(_enlarged, model, gate), parts, features)
        for strip, span, part in zip(strips, seen, enlarged, strict=True):
            result[:, :, strip.scaled(scale).slice] = part[:, :, strip.within(span).scaled(scale).slice]
    return result


def pooled_in_strips(model: TinySR, image: Tensor, rows: slice, columns: slice) -> Tensor:
    """`model.pooled(image, rows, columns)` for pictures [B,3,h,w] on the CPU. Each thread takes pictures, or strips."""
    inner, height = Span(rows.start, rows.stop), image.shape[2]
    limit = _openmp_limit()
    threads = _threads(limit)
    strips = _strips(inner, min(threads, max(1, len(inner) // SMALLEST_STRIP)))

    def total(picture: Tensor, strip: Span) -> Tensor:
        seen = strip.grown(model.config.trunk_halo, height)
        return model.pooled(picture[:, :, seen.slice], strip.within(seen).slice, columns) * len(strip)

    pairs = [(picture, strip) for picture in image.split(1) for strip in strips]
    with ThreadPoolExecutor(threads, initializer=_start_worker, initargs=(limit,)) as pool:
        totals = torch.stack(list(pool.map(total, *zip(*pairs, strict=True))))
    return totals.reshape(len(image), len(strips), -1).sum(1) / len(inner)


def _threads(limit: Callable[[int], None] | None) -> int:
    return min(torch.get_num_threads(), cores()) if limit else 1


def _strips(span: Span, count: int) -> list[Span]:
    """`count` spans of nearly equal length that together are `span`."""
    edges = [span.start + len(span) * i // count for i in range(count + 1)]
    return [Span(start, stop) for start, stop in pairwise(edges)]


def _start_worker(limit: Callable[[int], None] | None) -> None:
    """Set what torch and OpenMP keep per thread."""
    torch.set_grad_enabled(False)
    if limit is not None:
        torch.get_num_threads()  # the first call in a thread sets its number of threads; later calls do not
        limit(1)


def _openmp_limit() -> Callable[[int], None] | None:
    """`omp_set_num_threads` of the OpenMP library that torch uses; None if it is not found.

    It limits the calling thread only. `torch.set_num_threads` would also limit other threads of the host's process that
    start to use torch at that moment.
    """
    try:
        binary = torch._C.__file__  # pyright: ignore[reportPrivateUsage]  # no public name; the search includes linked libraries
        return ctypes.CDLL("libiomp5md.dll" if sys.platform == "win32" else binary).omp_set_num_threads
    except (OSError, AttributeError):
        return None


def _features(model: TinySR, image: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The features of consecutive bands of `rows` rows; the last band may have more or fewer."""
    image = image.to(model.head.weight.dtype)
    height = image.shape[2]
    head, trunk = _BandedConv(model.head), [_BandedConv(conv) for conv in model.trunk if isinstance(conv, nn.Conv2d)]
    waiting = None  # rows of the head's features that the trunk has not reached yet
    start = 0
    while start < height:
        # The first band is higher, so that every layer has at least one row of output.
        stop = min(start + rows + (model.config.halo if start == 0 else 0), height)
        shallow = deep = F.relu_(head.push(image[:, :, start:stop], last=stop == height))
        for layer in trunk:
            deep = F.relu_(layer.push(deep, last=stop == height))
        waiting = shallow if waiting is None else torch.cat([waiting, shallow], 2)
        done = deep.shape[2]
        yield waiting[:, :, :done], deep
        waiting = waiting[:, :, done:]
        start = stop


def _sum(features: Features, rows: Span) -> Tensor:
    """Sum [1,C] of the trunk's features over `rows`."""
    total = torch.zeros(())
    top = 0
    for _, deep in features:
        band = deep[:, :, max(rows.start - top, 0) : max(rows.stop - top, 0)]
        total = total + band.sum((2, 3), dtype=torch.float32)
        top += deep.shape[2]
    return total


def _enlarged(model: TinySR, gate: Tensor | None, image: Tensor, features: Features) -> Tensor:
    """The result [1,3,s*h,s*w] for a part of the picture [1,3,h,w], from its features."""
    height, width = image.shape[2:]
    scale = model.config.scale
    result = image.new_empty(1, 3, scale * height, scale * width)
    bordered = F.pad(image, (2, 2, 2, 2), mode="replicate")
    kernel = _colour_kernel(scale).to(image).contiguous(memory_format=torch.channels_last)
    tail = _BandedConv(model.tail)
    reached = top = 0
    for shallow, deep in features:
        reached += deep.shape[2]
        deep = deep if gate is None else deep.mul_(gate[:, :, None, None].to(deep.dtype))
        detail = tail.push(deep.add_(shallow), last=reached == height)
        bottom = top + detail.shape[2]
        skip = F.conv2d(bordered[:, :, top : bottom + 4], kernel)
        result[:, :, scale * top : scale * bottom] = F.pixel_shuffle(skip.add_(detail), scale)
        top = bottom
    return result


class _BandedConv:
    """A convolution over consecutive bands of rows [1,C,rows,W], from top to bottom."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self._conv = conv
        self._border = conv.kernel_size[0] // 2
        self._kept: Tensor | None = None

    def push(self, band: Tensor, *, last: bool) -> Tensor:
        """The output rows that can be computed with `band`. The zero padding is added at the first and the last
        band."""
        zeros = _zeros(band, self._border)
        parts = [zeros if self._kept is None else self._kept, band]
        seen = torch.cat([*parts, zeros] if last else parts, 2)
        self._kept = seen[:, :, -2 * self._border :]
        return F.conv2d(seen, self._conv.weight, self._conv.bias, padding=(0, self._border))


def _zeros(like: Tensor, rows: int) -> Tensor:
    shape = (1, like.shape[1], rows, like.shape[3])
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last).zero_()


def _colour_kernel(scale: int) -> Tensor:
    """The kernel of the bicubic skip for all channels, each from itself: [3*scale^2,3,5,5]."""
    return torch.einsum("cd,kyx->ckdyx", torch.eye(3).double(), torch.from_numpy(skip_kernel(scale))).flatten(0, 1)
