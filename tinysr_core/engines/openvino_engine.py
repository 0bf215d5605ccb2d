"""Runs a network with OpenVINO on the CPU, in fp32 or int8. Needs no torch."""

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..model import Checkpoint
from ..util import Image, in_order, thread_count
from .engine import BORDER, Gate
from .openvino_graph import Graphs
from .openvino_int8 import calibration
from .openvino_runtime import Compiled
from .tiling import Window

OpenVinoPrecision = Literal["auto", "fp32", "int8"]

TILE = 512
"""Side in LR pixels at which the halo is 10 % of the work. Two tiles take 440 MB of features in fp32, 370 in int8."""
PARALLEL = 2
"""Tiles that run at the same time, each with a share of the cores. If another program takes a core, one tile becomes
slower. If all cores shared one tile, they would all wait for the slowest core in each layer."""


class OpenVinoEngine:
    """See `Engine`. Threads that share an engine wait for each other, because a few tiles already use all cores.

    Args:
        checkpoint: the network.
        precision: auto is int8 if it is as good as fp32 (see `calibration`), else fp32.
        cache: the folder for the calibration of int8; None: it is not saved.

    Raises:
        RuntimeError: OpenVINO fails.
    """

    only_enlarges = True
    takes_batches = False
    border = BORDER
    fallback = None

    def __init__(
        self, checkpoint: Checkpoint, precision: OpenVinoPrecision = "auto", cache: Path | None = None
    ) -> None:
        self.scale = checkpoint.config.scale
        self.tile = TILE
        self.halo = checkpoint.config.halo
        self.pool_halo = checkpoint.config.trunk_halo if checkpoint.config.attention else None
        measured = None if precision == "fp32" else calibration(checkpoint, cache)
        integers = measured is not None and (measured.is_close(self.scale) or precision == "int8")
        self.precision = "int8" if integers else "fp32"
        self._trunk_halo = checkpoint.config.trunk_halo
        self._tensors = checkpoint.tensors
        self.parallel = min(PARALLEL, thread_count())
        self._compiling = threading.Lock()
        self._graphs = Graphs(checkpoint, measured.ranges if measured is not None and integers else None)

    def moved(self, image: Image) -> Image:
        return image

    def run(self, image: Image, gate: Gate | None = None) -> Image:
        pixels = _pixels(image)
        with self._compiling:
            graph = self._own_gate if gate is None else self._given_gate
        return _like(image, graph(pixels) if gate is None else graph(pixels, gate))

    def gate(self, image: Any, cores: Sequence[Window]) -> Gate:
        height, width = image.shape[2:]
        seen = [core.grown(self._trunk_halo, height, width) for core in cores]
        windows = [(image[out.index], core.within(out)) for core, out in zip(cores, seen, strict=True)]
        means = list(in_order(self._pooled, windows, self.parallel))
        pooled = np.average(means, axis=0, weights=[core.area for core in cores]).astype(np.float32)
        squeeze, excite = (self._tensors[f"attention.{name}.weight"] for name in ("squeeze", "excite"))
        return np.float32(1) / (1 + np.exp(-excite @ np.maximum(squeeze @ pooled, 0)))

    def _pooled(self, window: tuple[Any, Window]) -> NDArray[np.float32]:
        """Mean trunk features [C] over a window of an image [1,3,h,w]."""
        image, core = window
        start, stop = np.array([(span.start, span.stop) for span in (core.rows, core.columns)]).T
        with self._compiling:
            graph = self._pool
        return graph(_pixels(image), np.ascontiguousarray(start), np.ascontiguousarray(stop))

    # Graphs are compiled on first use. A picture of one tile needs only the first.
    @cached_property
    def _own_gate(self) -> Compiled:
        return Compiled(self._graphs.upscale(own_gate=True))

    @cached_property
    def _given_gate(self) -> Compiled:
        return Compiled(self._graphs.upscale(own_gate=False), self.parallel)

    @cached_property
    def _pool(self) -> Compiled:
        return Compiled(self._graphs.pool(), self.parallel)


def _pixels(image: Any) -> Any:
    return np.ascontiguousarray(image if isinstance(image, np.ndarray) else image.cpu().numpy(), np.float32)


def _like(image: Any, result: Any) -> Any:
    return result if isinstance(image, np.ndarray) else image.new_tensor(result)
