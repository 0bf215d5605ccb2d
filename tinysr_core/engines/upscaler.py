"""Run an engine over pictures of any size: exact tiles, one gate per picture, bounded memory, progress, cancelling."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MemoryLimitError, RequestError
from ..util import Image, Progress, all_finite, clamp_in_place, crop_mirrored, in_order
from .engine import Engine, Gate
from .tile_writer import TileWriter
from .tiling import Window, probes, tiles

if TYPE_CHECKING:
    from ..images import Clean

SMALLEST_TILE = 32
"""Smallest side of a tile in LR pixels. If memory runs out here, smaller tiles would not help."""
STRETCH = 1.2
"""Largest factor beyond the network's scale that is left to a bicubic resize. At 1.25, a second network improves LPIPS
by 18 % (docs/how-it-works.md)."""
VIDEO_CLEAN = 1.0
"""The amount that `clean="auto"` chooses for all frames of a video: they are compressed, and `portrait` would enhance
their noise, which then flickers (benchmarks/results/video.md)."""


class Upscaler:
    """Upscales pictures by the scale of its engine, in tiles.

    The tile size does not change the result. A tile includes all pixels around it that the network reaches. The gate,
    the only part with a larger reach, is computed once per picture: from all of a small picture, from evenly spaced
    probe windows of a large one. The picture is mirrored beyond its edges, so that edges are treated like the middle.

    Several threads may use one upscaler; they share its device.

    Args:
        engine: runs the network.
        tile: largest side of a tile in LR pixels; None: the engine's default.
        follower: loads the upscaler that enlarges beyond the scale of the network, or returns None.

    Raises:
        RequestError: `tile` is too small.
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
        """The upscaler that continues beyond this network's scale; None if there is none."""
        return self._load_follower()

    def steps(self, factor: float) -> list[int]:
        """The scales of the networks that `enlarge` runs in turn to reach `factor`, or to come close."""
        steps = [self.scale]
        while factor > STRETCH * math.prod(steps) and self.follower is not None:
            steps.append(self.follower.scale)
        return steps

    def enlarge(self, image: Image, factor: float, progress: Progress | None = None) -> Image:
        """Run the networks that `steps` lists for `factor`; the result is enlarged by the product of their scales."""
        steps = self.steps(factor)
        work = [math.prod(steps[:i]) ** 2 for i in range(len(steps))]  # as the number of LR pixels
        result = self.upscale(image, _stage(progress, work, 0))
        for i in range(1, len(steps)):
            assert self.follower is not None
            result = self.follower.upscale(result, _stage(progress, work, i))
        return result

    @property
    def plain(self) -> "Upscaler":
        """The upscaler for alpha and masks, which need no cleaning."""
        return self

    @property
    def for_video(self) -> "tuple[Upscaler, Clean | None]":
        """The upscaler for the frames of a video, and the reason: this one, unless loaded with `clean="auto"`."""
        return self, None

    def for_picture(self, image: Any, jpeg_quality: float | None = None) -> "tuple[Upscaler, Clean | None]":
        """The upscaler for a picture [B,C,H,W], and the reason: this one, unless it was loaded with `clean="auto"`.

        `jpeg_quality` is the quality of the picture's file, 1 to 100; None if it is unknown.
        """
        return self, None

    def at_once(self, height: int, width: int) -> int:
        """How many pictures of this size, in LR pixels, run through the network as one batch.

        On a GPU they are as many as have the pixels of a tile, because one small picture would leave most of it idle.
        """
        if not self.engine.takes_batches or max(height, width) > self.tile:
            return 1
        return max(1, min(self.tile, self.engine.tile) ** 2 // (height * width))

    def upscale(self, image: Image, progress: Progress | None = None) -> Image:
        """LR pictures [B,3,H,W], float32 in [0,1] -> SR pictures [B,3,s*H,s*W], clamped to [0,1].

        Takes a numpy array or a torch tensor and returns the same kind, on the same device. The input is not changed.
        Pictures do not influence each other.

        Raises:
            RequestError: the array has another shape, or is not floating point.
            MemoryLimitError: memory runs out even with the smallest tile, or for the result itself.
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
                    # Halve the side that was used, which is at most that of the picture, unless another thread already
                    # has. A batch of pictures becomes smaller before the pictures are cut. The smaller side stays for
                    # the next picture, which would run out of memory too.
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
        windows = tiles(height, width, tile, even=self.engine.parallel > 1)
        if progress is not None:
            progress(0, len(windows))
        broken = _run(self.engine, image, result, windows, windows, progress)
        engine = self.engine
        while broken and engine.fallback is not None:
            engine = engine.fallback
            logging.getLogger(__name__).warning(
                "%d of %d tiles had NaN or infinite values; they are repeated in higher precision.",
                len(broken),
                len(windows),
            )
            broken = _run(engine, image, result, windows, broken, None)


def _run(
    engine: Engine, image: Any, result: Any, windows: list[Window], some: list[Window], progress: Progress | None
) -> list[Window]:
    """Run the tiles `some` of all `windows` and write them into `result`. Returns those with NaN or infinite values."""
    height, width = image.shape[2:]
    source = engine.moved(image)
    gate = _gates(engine, source, windows)
    if progress is not None and gate is not None:
        progress(0, len(some))  # can cancel: the gate of a large picture takes about as long as a tile
    writer = TileWriter(result)
    finite: list[Any] = []  # read after the last tile, so that a GPU does not wait

    def run_tile(window: Window) -> Any:
        seen = window.grown(engine.halo, height, width, engine.border)
        tile = engine.run(crop_mirrored(source, seen.rows.slice, seen.columns.slice), gate)
        return tile[window.within(seen).scaled(engine.scale).index]

    with closing(in_order(run_tile, some, engine.parallel, ahead=0)) as results:
        for done, (window, tile) in enumerate(zip(some, results, strict=True), 1):
            finite.append(all_finite(tile))
            clamp_in_place(tile)
            writer.write(tile, window.scaled(engine.scale))
            if progress is not None:
                progress(done, len(some))
    writer.finish()
    return [window for window, good in zip(some, finite, strict=True) if not good]


def _gates(engine: Engine, images: Any, windows: list[Window]) -> Gate | None:
    """The gate of one picture, or the gates [B,C] of several; see `_gate`."""
    if len(images) == 1:
        return _gate(engine, images, windows)
    gates = [_gate(engine, images[i : i + 1], windows) for i in range(len(images))]
    if None in gates:
        return None
    from torch import cat  # only torch engines take batches

    return cat([gate for gate in gates if gate is not None])


def _gate(engine: Engine, image: Any, windows: list[Window]) -> Gate | None:
    """The gate of a picture; None if the network has none, or computes it itself because there is one tile."""
    if engine.pool_halo is None:
        return None
    height, width = image.shape[2:]
    cores = probes(height, width, engine.pool_halo)
    if cores:
        return engine.gate(image, cores)
    if len(windows) == 1:
        return None
    border, side = engine.border, max(len(span) for span in (windows[0].rows, windows[0].columns))
    whole = crop_mirrored(image, slice(-border, height + border), slice(-border, width + border))
    return engine.gate(whole, tiles(height + 2 * border, width + 2 * border, max(SMALLEST_TILE, side)))


class AutoUpscaler(Upscaler):
    """Chooses for each picture how much of the photo network to blend in.

    Args:
        load: loads the upscaler for an amount from 0 to 1. It is called once per amount, with 0 immediately, so that
            invalid options raise an error at once. Upscalers for other amounts may have a smaller scale, and continue
            with their followers.
    """

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
    def for_video(self) -> "tuple[Upscaler, Clean | None]":
        from ..images import Clean

        return self._load(VIDEO_CLEAN), Clean(VIDEO_CLEAN, "a video, whose noise must not flicker")

    def for_picture(self, image: Any, jpeg_quality: float | None = None) -> "tuple[Upscaler, Clean | None]":
        """The upscaler for the amount that the picture needs. The middle picture of a batch decides for all."""
        if not len(image):
            return self._plain, None
        middle = image[len(image) // 2]
        from ..images import choose_clean  # imports Pillow, which listing models does not need

        pixels = middle if isinstance(middle, np.ndarray) else middle.cpu()
        clean = choose_clean(np.asarray(pixels, np.float32), jpeg_quality)
        return self._load(clean.amount), clean

    def upscale(self, image: Image, progress: Progress | None = None) -> Image:
        """See `Upscaler.upscale`; `for_picture` chooses the network."""
        _require_pictures(image)
        return self.for_picture(image)[0].enlarge(image, self.scale, progress)


def _require_pictures(image: Any) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise RequestError(f"Pixels must be an array [batch, 3, height, width], not {list(image.shape)}.")
    if "float" not in str(image.dtype):
        raise RequestError(f"Pixels must be float32 in [0, 1], not {image.dtype}; divide 8-bit pixels by 255.")


def beyond_scale(steps: Sequence[int], factor: float) -> str:
    """A note for the user on how `steps` reached a factor beyond the scale of a network."""
    networks = ", then ".join(f"×{scale}" for scale in steps)
    how = f"by networks for {networks}" if len(steps) > 1 else f"by a network for {networks}"
    rest = "" if math.isclose(factor, math.prod(steps)) else " and a bicubic resize"
    return f"×{factor:.3g} is reached {how}{rest}."


def _stage(progress: Progress | None, work: list[int], index: int) -> Progress | None:
    """Progress of the network `index` as progress of all networks; `work` is the work of each."""
    if progress is None or len(work) == 1:
        return progress
    before, own, whole = sum(work[:index]), work[index], sum(work)
    return lambda done, total: progress(before * total + own * done, whole * total)


def _part(progress: Progress | None, start: int, stop: int, count: int) -> Progress | None:
    """Progress of the pictures from `start` to `stop` of `count` as progress of all pictures."""
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
        raise MemoryLimitError(f"The result needs {needed:,} bytes of memory; choose a smaller size.") from error
