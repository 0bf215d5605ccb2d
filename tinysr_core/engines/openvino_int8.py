"""Calibration of OpenVINO's int8: the ranges of the inputs of convs, and the error of the int8 result.

Both are measured once per checkpoint, so that fine-tuned networks can run in int8 too. The result is cached in a small
file.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..model import Checkpoint
from ..util import atomic_write
from .int8 import MARGIN, calibration_pictures, close_enough, psnr
from .openvino_graph import VERSION, Graphs
from .openvino_runtime import Compiled, cpu_name, openvino


@dataclass(frozen=True)
class Calibration:
    """The measurements for one network."""

    ranges: Sequence[float]
    """The largest input of each conv of the trunk, with the margin."""
    psnr: float
    """Between the int8 and the fp32 result, in dB."""

    def is_close(self, scale: int) -> bool:
        """Whether int8 is as good as fp32."""
        return self.psnr >= close_enough(scale)


def calibration(checkpoint: Checkpoint, cache: Path | None) -> Calibration:
    """The calibration of a network on this machine, from the folder `cache`, or measured and saved there.

    A file is not used if it is damaged, or comes from another version of OpenVINO or TinySR. Nothing is saved if the
    folder cannot be written to, or if the checkpoint has no hash.

    Raises:
        RuntimeError: OpenVINO fails.
    """
    if cache is None or not checkpoint.sha256:
        return calibrate(checkpoint)
    state = f"{checkpoint.sha256} {VERSION} {MARGIN} {openvino.__version__} {cpu_name()}"
    path = cache / f"int8-{hashlib.sha256(state.encode()).hexdigest()[:32]}.json"
    known = _read(path, checkpoint.config.blocks)
    if known is None:
        known = calibrate(checkpoint)
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(asdict(known)), encoding="utf-8")
    return known


def calibrate(checkpoint: Checkpoint) -> Calibration:
    """Measure on the calibration pictures."""
    pictures = calibration_pictures()
    fp32 = Graphs(checkpoint)
    largest_inputs = Compiled(fp32.largest_inputs())
    largest = np.max([largest_inputs(picture) for picture in pictures], axis=0)
    ranges = [MARGIN * max(float(value), 1e-6) for value in largest]
    results = [Compiled(graphs.upscale(own_gate=True))(pictures[1]) for graphs in (fp32, Graphs(checkpoint, ranges))]
    return Calibration(ranges, psnr(*results))


def _read(path: Path, blocks: int) -> Calibration | None:
    """The calibration saved at `path`; None if there is none, or it is damaged."""
    try:
        known = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        usable = all(isinstance(value, float) and 0 < value < np.inf for value in (*known.ranges, known.psnr))
        return known if usable and len(known.ranges) == blocks else None
    except (OSError, ValueError, TypeError):
        return None
