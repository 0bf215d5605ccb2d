"""Export a checkpoint to ncnn, for Upscayl, realesrgan-ncnn-vulkan and apps on phones. Needs no package.

The format: `.param` is text with one layer per line, `.bin` the weights in the order of the layers (ncnn, "param and
model file structure" and "operation param weight table"). Programs that use such files cut pictures into tiles and
know no gate. So the gate is fixed, and multiplied into the last conv of the trunk. Measurements:
benchmarks/results/export.md.
"""

from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError, TinySRError
from ..model import Checkpoint
from ..util import atomic_write
from .int8 import calibration_pictures, psnr
from .tiling import Span, Window

MAGIC = 7767517
"""First line of a `.param` file."""
INPUT, OUTPUT = "data", "output"
"""The names of input and output in Upscayl and realesrgan-ncnn-vulkan."""
NAMED_SCALES = (1, 2, 3, 4, 8, 16)
"""The scales that Upscayl looks for in the name of a model, in its order: x1 or 1x, then x2 or 2x, and so on."""
BICUBIC = 3
"""ncnn's number for bicubic interpolation, which equals PyTorch's: a = -0.75, pixel centres aligned, edges repeated."""
CLOSE = 90.0
"""Smallest PSNR in dB between the results of ncnn and those of PyTorch with the same gate."""


def export_ncnn(checkpoint: Checkpoint, path: Path) -> float | None:
    """Write `checkpoint` to `path` and to the `.bin` file beside it, after comparing the results of ncnn and PyTorch.

    Returns:
        The PSNR in dB between the two results; None if the package ncnn is missing and the files were not run.

    Raises:
        RequestError: the suffix is not `.param`, the name has another scale, or the results differ.
        TinySRError: a file cannot be written.
    """
    scale = checkpoint.config.scale
    if path.suffix != ".param":
        raise RequestError(f"{path} has not the suffix .param; write to {path.with_suffix('.param')}.")
    if named_scale(path.stem) != scale:
        raise RequestError(
            f"Upscayl reads the scale from the file name, and {path.stem!r} does not say ×{scale}. Choose a name like "
            f"portrait-x{scale}.param."
        )
    fixed = with_fixed_gate(checkpoint)
    param, weights = ncnn_model(fixed)
    try:
        with atomic_write(path.with_suffix(".bin")) as weights_file, atomic_write(path) as param_file:
            weights_file.write_bytes(weights)
            param_file.write_text(param, encoding="ascii")
            closeness = _closeness(fixed, param_file, weights_file) if find_spec("ncnn") else None
            if closeness is not None and not closeness >= CLOSE:
                raise RequestError(
                    f"ncnn's results for {checkpoint.path.stem} have a PSNR of only {closeness:.1f} dB to PyTorch's "
                    f"({CLOSE:g} are required), so nothing is written. Try another version of ncnn."
                )
            return closeness
    except OSError as error:
        raise TinySRError(f"{path} cannot be written: {error.strerror}.") from error


def named_scale(name: str) -> int | None:
    """The scale that Upscayl reads from the name of a model; None if it finds none."""
    return next((scale for scale in NAMED_SCALES if f"x{scale}" in name or f"{scale}x" in name), None)


def with_fixed_gate(checkpoint: Checkpoint) -> Checkpoint:
    """The network without attention that equals `checkpoint` with its typical gate.

    The gate is positive, so the last ReLU of the trunk gives the same whether its conv or its result is multiplied.
    """
    if not checkpoint.config.attention:
        return checkpoint
    gate = typical_gate(checkpoint)
    last = f"trunk.{checkpoint.config.blocks - 1}"
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("attention.")}
    tensors[f"{last}.weight"] = tensors[f"{last}.weight"] * gate[:, None, None, None]
    tensors[f"{last}.bias"] = tensors[f"{last}.bias"] * gate
    config = replace(checkpoint.config, attention=False)
    return replace(checkpoint, config=config, tensors=tensors)


def typical_gate(checkpoint: Checkpoint) -> NDArray[np.float32]:
    """The gate [C] of the calibration portrait at half size, which does the same as the mean over photographs."""
    from .torch_engine import TorchEngine

    picture = calibration_pictures()[1]
    whole = Window(*(Span(0, length) for length in picture.shape[2:]))
    gate = TorchEngine.from_checkpoint(checkpoint, "cpu", "fp32").gate(picture, [whole])
    return np.asarray(gate)[0, : checkpoint.config.channels]


def ncnn_model(checkpoint: Checkpoint) -> tuple[str, bytes]:
    """The `.param` and the `.bin` file of a network without attention.

    `data` [3,h,w] RGB in [0,1] -> `output` [3,s*h,s*w], clamped to [0,1].
    """
    config, scale = checkpoint.config, checkpoint.config.scale
    assert not config.attention
    graph = _Graph(checkpoint)
    graph.layer("Input", [], [INPUT])
    graph.layer("Split", [INPUT], ["image", "picture"])
    graph.conv("head", "image", "shallow", relu=True)
    graph.layer("Split", ["shallow"], ["features", "skipped"])
    x = "features"
    for i in range(config.blocks):
        x = graph.conv(f"trunk.{i}", x, f"deep{i}", relu=True)
    graph.layer("BinaryOp", ["skipped", x], ["mixed"], {0: 0})
    graph.conv("tail", "mixed", "phases", relu=False)
    graph.layer("PixelShuffle", ["phases"], ["detail"], {0: scale})
    graph.layer("Interp", ["picture"], ["bicubic"], {0: BICUBIC, 1: float(scale), 2: float(scale)})
    graph.layer("BinaryOp", ["bicubic", "detail"], ["sum"], {0: 0})
    graph.layer("Clip", ["sum"], [OUTPUT], {0: 0.0, 1: 1.0})
    return graph.param(), bytes(graph.weights)


@dataclass
class _Graph:
    """The network that is being built."""

    checkpoint: Checkpoint
    lines: list[str] = field(default_factory=list[str], init=False)
    blobs: int = field(default=0, init=False)
    """Number of tensors."""
    weights: bytearray = field(default_factory=bytearray, init=False)

    def layer(
        self, kind: str, inputs: list[str], outputs: list[str], values: dict[int, int | float] | None = None
    ) -> None:
        """Add a layer with numbered values; `float` values need a decimal point."""
        given = [f"{key}={value}" for key, value in (values or {}).items()]
        counts = [str(len(inputs)), str(len(outputs))]
        self.lines.append(" ".join([kind, f"{kind.lower()}_{len(self.lines)}", *counts, *inputs, *outputs, *given]))
        self.blobs += len(outputs)

    def conv(self, name: str, x: str, output: str, relu: bool) -> str:
        weight, bias = (self.checkpoint.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        channels, side = weight.shape[0], weight.shape[2]
        values = {0: channels, 1: side, 4: side // 2, 5: 1, 6: weight.size, 9: int(relu)}
        self.layer("Convolution", [x], [output], values)
        self.weights += bytes(4)  # the type of the weights: 0 is float32
        self.weights += weight.astype("<f4").tobytes() + bias.astype("<f4").tobytes()
        return output

    def param(self) -> str:
        return "\n".join([str(MAGIC), f"{len(self.lines)} {self.blobs}", *self.lines]) + "\n"


def run_ncnn(param: Path, weights: Path, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The result [1,3,s*h,s*w] of ncnn on the CPU, in float32, for a picture [1,3,h,w]. Needs the package ncnn."""
    ncnn: Any = import_module("ncnn")
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_bf16_storage = False
    net.load_param(str(param))
    net.load_model(str(weights))
    extractor = net.create_extractor()
    extractor.input(INPUT, ncnn.Mat(picture[0]))
    return np.array(extractor.extract(OUTPUT)[1])[None]


def _closeness(checkpoint: Checkpoint, param: Path, weights: Path) -> float:
    """PSNR between the results of ncnn and of PyTorch for a network without attention."""
    from .torch_engine import TorchEngine

    engine = TorchEngine.from_checkpoint(checkpoint, "cpu", "fp32")
    picture = calibration_pictures()[1]
    return psnr(run_ncnn(param, weights, picture), engine.run(picture, None))
