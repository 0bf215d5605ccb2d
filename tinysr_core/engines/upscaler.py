"""Runs an engine over pictures of any size: exact tiles, one gate per picture, bounded memory, progress, cancel."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MemoryLimitError, RequestError
from ..util import Image, Progress, all_finite, clamp_in_place, continued
from .delivery import Delivery
from .engine import Engine, Gate
from .tiling import Window, probes, tiles

if TYPE_CHECKING:
    from ..images import Clean

SMALLEST_TILE = 32
"""Where memory runs out at this side, nothing smaller would help."""
STRETCH = 1.2
"""Up to this much more than the network's scale is left to a bicubic resize. At 1.25 a second network is worth 18 % of
LPIPS (docs/how-it-works.md)."""
VIDEO_CLEAN = 1.0
"""What `clean="auto"` is for all frames of a video. They are compressed, and noise flickers the more, the less of the
photo network there is (benchmarks/results/video.md)."""


class Upscaler:
    """Upscales pictures by the scale of its engine, in tiles of at most `tile` LR pixels a side (None: what its engine
    likes).

    Any tile size gives the same picture: a tile sees as far around itself as the network's reach, and the gate, the
    only part that sees more, is computed once per picture. For a small picture it follows from all of it, for a large
    one from evenly spaced probe windows. The picture is continued beyond its edges by the border that the engine asks
    for, so that the edge of a picture is treated like its middle.

    Several threads may use one upscaler; they share its device.
    """

    def __init__(
        self, engine: Engine, tile: int | None = None, follower: "Callable[[], Upscaler | None]" = lambda: None
    ) -> None:
        if tile is not None and tile < SMALLEST_TILE:
            raise RequestError(f"A tile of {tile} pixels is too small; give at least {SMALLEST_TILE}, or leave it out.")
        self.engine = engine
        self.tile = tile or engine.tile
        self._load_follower = follower

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.engine.scale

    @cached_property
    def follower(self) -> "Upscaler | None":
        """What enlarges the result further where a factor beyond this network's scale is asked for."""
        return self._load_follower()

    def steps(self, factor: float) -> list[int]:
        """The scales of the networks that `enlarge` runs one after the other to reach `factor`, or to come close."""
        steps = [self.scale]
        while factor > STRETCH * math.prod(steps) and self.follower is not None:
            steps.append(self.follower.scale)
        return steps

    def enlarge(self, image: Image, factor: float, progress: Progress | None = None) -> Image:
        """As `upscale`, and then by the follower as often as `steps` says: the product of the steps as large."""
        steps = self.steps(factor)
        work = [math.prod(steps[:i]) ** 2 for i in range(len(steps))]  # the pixels that each network sees
        result = self.upscale(image, _stage(progress, work, 0))
        for i in range(1, len(steps)):
            assert self.follower is not None
            result = self.follower.upscale(result, _stage(progress, work, i))
        return result

    @property
    def plain(self) -> "Upscaler":
        """What upscales alpha and masks, which need no cleaning."""
        return self

    @property
    def for_video(self) -> "Upscaler":
        """What upscales all frames of a video: this one, unless it was loaded with `clean="auto"`."""
        return self

    def for_picture(self, image: Any, jpeg_quality: float | None = None) -> "tuple[Upscaler, Clean | None]":
        """What upscales a picture [B,C,H,W], and why: this one, unless it was loaded with `clean="auto"`.

        `jpeg_quality` is that of the picture's file, where it is known.
        """
        return self, None

    def at_once(self, height: int, width: int) -> int:
        """How many pictures of that size go through the network together: on a GPU, as many as fit into a tile.

        A single small picture would leave most of a GPU idle.
        """
        if not self.engine.takes_batches or max(height, width) > self.tile:
            return 1
        return max(1, min(self.tile, self.engine.tile) ** 2 // (height * width))

    def upscale(self, image: Image, progress: Progress | None = None) -> Image:
        """LR pictures [B,3,H,W], float32 in [0,1] -> SR pictures [B,3,s*H,s*W], clamped to [0,1].

        Takes and returns a numpy array or a torch tensor (on any device; the result lies on the same one). The input is
        not written to. Pictures do not influence each other.

        Raises:
            RequestError: the array is not of that shape, or not of floating point.
            MemoryLimitError: memory runs out even at the smallest tile, or for the result itself.
        """
        _require_pictures(image)
        batch, channels, height, width = image.shape
        result = _empty(image, (batch, channels, height * self.scale, width * self.scale))
        start = 0
        while start < batch:
            while True:
                tile, stop = self.tile, min(batch, start + self.at_once(height, width))
                try:
                    part = _part(progress, start, stop, batch)
                    self._upscale_together(image[start:stop], result[start:stop], tile, part)
                    break
                except MemoryError as error:
                    # Even tiles are no larger than the picture: halve what was really used, unless another thread has.
                    # It stays so for the next picture, which would run out of memory just the same.
                    side = max(height, width)
                    self.tile = min(self.tile, min(tile, side) // 2 if stop == start + 1 else max(side, tile // 2))
                    if self.tile < SMALLEST_TILE:
                        raise MemoryLimitError(
                            f"Memory ran out even with tiles of {2 * self.tile} pixels; close other programs or use "
                            "the CPU."
                        ) from error
            start = stop
        return result

    def _upscale_together(self, image: Any, result: Any, tile: int, progress: Progress | None) -> None:
        height, width = image.shape[2:]
        windows = tiles(height, width, tile)
        if progress is not None:
            progress(0, len(windows))
        broken = _run(self.engine, image, result, windows, windows, progress)
        engine = self.engine
        while broken and engine.fallback is not None:
            engine = engine.fallback
            logging.getLogger(__name__).warning(
                "%d of %d tiles had values that are no numbers; they are done again in plainer arithmetic.",
                len(broken),
                len(windows),
            )
            broken = _run(engine, image, result, windows, broken, None)


def _run(
    engine: Engine, image: Any, result: Any, windows: list[Window], some: list[Window], progress: Progress | None
) -> list[Window]:
    """Write the tiles `some` of all `windows` into `result`; returns those that have NaN or infinities."""
    height, width = image.shape[2:]
    source = engine.moved(image)
    gate = _gates(engine, source, windows)
    delivery = Delivery(result)
    finite: list[Any] = []  # not looked at before the last tile: a GPU would have to wait
    for done, window in enumerate(some, 1):
        seen = window.grown(engine.halo, height, width, engine.border)
        tile = engine.run(continued(source, seen.rows.slice, seen.columns.slice), gate)
        finite.append(all_finite(tile))
        clamp_in_place(tile)
        inner = window.within(seen).scaled(engine.scale)
        delivery.put(tile[inner.index], window.scaled(engine.scale))
        if progress is not None:
            progress(done, len(some))
    delivery.finish()
    return [window for window, good in zip(some, finite, strict=True) if not good]


def _gates(engine: Engine, images: Any, windows: list[Window]) -> Gate | None:
    """The gate of one picture, or those of several [B,C]."""
    if len(images) == 1:
        return _gate(engine, images, windows)
    gates = [_gate(engine, images[i : i + 1], windows) for i in range(len(images))]
    if None in gates:
        return None
    from torch import cat  # only engines of torch take several pictures at once

    return cat([gate for gate in gates if gate is not None])


def _gate(engine: Engine, image: Any, windows: list[Window]) -> Gate | None:
    """The picture's gate, from the mean trunk features over its probe windows, or over all of it."""
    if engine.pool_halo is None:
        return None
    height, width = image.shape[2:]
    cores = probes(height, width, engine.pool_halo)
    if cores:
        return engine.gate(image, cores)
    if len(windows) == 1:
        return None  # the network sees the whole picture and derives the same gate on its way
    border, side = engine.border, max(len(span) for span in (windows[0].rows, windows[0].columns))
    whole = continued(image, slice(-border, height + border), slice(-border, width + border))
    return engine.gate(whole, tiles(height + 2 * border, width + 2 * border, max(SMALLEST_TILE, side)))


class AutoUpscaler(Upscaler):
    """Upscales each picture with as much of the photo network as it needs. `load` makes the upscaler of an amount, when
    the first picture needs it; that of none at once, so that options which cannot be used are noticed at once."""

    def __init__(self, load: Callable[[float], Upscaler]) -> None:
        self._load = cache(load)
        self._plain = self._load(0)
        self._load_follower = lambda: self.plain.follower

    @property
    def scale(self) -> int:
        return self._plain.scale

    def at_once(self, height: int, width: int) -> int:
        return self._plain.at_once(height, width)

    @property
    def plain(self) -> Upscaler:
        return self._plain

    @property
    def for_video(self) -> Upscaler:
        return self._load(VIDEO_CLEAN)

    def for_picture(self, image: Any, jpeg_quality: float | None = None) -> "tuple[Upscaler, Clean | None]":
        """The upscaler of the amount that the picture needs. Of a batch, a middle picture decides for all."""
        if not len(image):
            return self._plain, None
        middle = image[len(image) // 2]
        from ..images import choose_clean  # images imports Pillow, which lists of models do not need

        pixels = middle if isinstance(middle, np.ndarray) else middle.cpu()
        clean = choose_clean(np.asarray(pixels, np.float32), jpeg_quality)
        return self._load(clean.amount), clean

    def upscale(self, image: Image, progress: Progress | None = None) -> Image:
        """As `Upscaler.upscale` does, with what `for_picture` chooses."""
        _require_pictures(image)
        return self.for_picture(image)[0].upscale(image, progress)


def _require_pictures(image: Any) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise RequestError(f"Pictures must be an array [batch, 3, height, width], not {list(image.shape)}.")
    if "float" not in str(image.dtype):
        raise RequestError(f"Pictures must be float32 in [0, 1], not {image.dtype}; divide 8-bit pixels by 255.")


def beyond_scale(steps: Sequence[int], factor: float) -> str:
    """A note for the user: how a factor beyond a network's scale was reached by `Upscaler.steps`."""
    networks = ", then ".join(f"×{scale}" for scale in steps)
    how = f"by networks for {networks}" if len(steps) > 1 else f"by a network for {networks}"
    rest = "" if math.isclose(factor, math.prod(steps)) else " and a bicubic resize"
    return f"×{factor:.3g} is reached {how}{rest}."


def _stage(progress: Progress | None, work: list[int], index: int) -> Progress | None:
    """Progress of network `index`, told as progress of all: `work` is what each has to do."""
    if progress is None or len(work) == 1:
        return progress
    before, own, whole = sum(work[:index]), work[index], sum(work)
    return lambda done, total: progress(before * total + own * done, whole * total)


def _part(progress: Progress | None, start: int, stop: int, count: int) -> Progress | None:
    """Progress of the pictures from `start` to `stop` of `count`, told as progress of all."""
    if progress is None:
        return None
    return lambda done, total: progress(start * total + (stop - start) * done, count * total)


def _empty(image: Any, shape: tuple[int, ...]) -> Any:
    try:
        if isinstance(image, np.ndarray):
            return np.empty(shape, np.float32)
        return image.new_empty(shape)
    except (MemoryError, RuntimeError) as error:
        needed = 4 * int(np.prod(shape))
        raise MemoryLimitError(f"The result needs {needed:,} bytes of memory; ask for a smaller one.") from error
