"""Calibration for int8: the ranges of the inputs of convs, and the error of the int8 result.

Both are measured on a portrait (CC0, cjdowner/interfaces) once per checkpoint, so that fine-tuned networks can run in
int8 too. The result is cached in a small file. Measurements: benchmarks/results/precision.md.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..model import Checkpoint
from ..util import atomic_write
from .openvino_graph import VERSION, Graphs
from .openvino_runtime import Compiled, cpu_name, openvino

PORTRAIT = Path(__file__).parent / "portrait.jpg"
MARGIN = 2.0
"""Factor on the ranges of the portrait. Values beyond are clipped, so letters and drawings, whose ranges are larger,
lose contrast. A margin of 1.5 costs 0.4 dB on letters. A margin of 2 costs 0.06 dB there, and 0.01 dB more on
portraits. It also keeps int8 exact on CPUs without VNNI: their kernels add pairs of products in 16 bits, which holds
2 x 127 x 255 / 2, so only values beyond the portrait's ranges can saturate."""
CLOSE, CLOSE_PER_SCALE = 61.5, 1.5
"""Smallest PSNR in dB between the int8 and the fp32 result at which int8 is as good, and how much it decreases per unit
of scale, because results at larger scales are further from the original. Above it, PSNR-Y against the original falls by
less than 0.05 dB on portraits, and LPIPS rises by less than 2 %."""


@dataclass(frozen=True)
class Calibration:
    """The measurements for one network."""

    ranges: Sequence[float]
    """The largest input of each conv of the trunk, with the margin."""
    psnr: float
    """Between the int8 and the fp32 result, in dB."""

    def is_close(self, scale: int) -> bool:
        """Whether int8 is as good as fp32."""
        return self.psnr >= CLOSE - CLOSE_PER_SCALE * scale


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
    """Measure on the portrait, and on the portrait at half size, whose edges are sharper."""
    with Image.open(PORTRAIT) as picture:
        whole = picture.convert("RGB")
    pictures = [_planes(whole), _planes(whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BICUBIC))]
    fp32 = Graphs(checkpoint)
    largest_inputs = Compiled(fp32.largest_inputs())
    largest = np.max([largest_inputs(picture) for picture in pictures], axis=0)
    ranges = [MARGIN * max(float(value), 1e-6) for value in largest]
    results = [Compiled(graphs.upscale(own_gate=True))(pictures[1]) for graphs in (fp32, Graphs(checkpoint, ranges))]
    error = float(np.square(results[0].clip(0, 1) - results[1].clip(0, 1)).mean())
    return Calibration(ranges, -10 * np.log10(max(error, 1e-12)))


def _planes(picture: Image.Image) -> NDArray[np.float32]:
    return np.asarray(picture, np.float32).transpose(2, 0, 1)[None].copy() / np.float32(255)


def _read(path: Path, blocks: int) -> Calibration | None:
    """The calibration saved at `path`; None if there is none, or it is damaged."""
    try:
        known = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        usable = all(isinstance(value, float) and 0 < value < np.inf for value in (*known.ranges, known.psnr))
        return known if usable and len(known.ranges) == blocks else None
    except (OSError, ValueError, TypeError):
        return None
