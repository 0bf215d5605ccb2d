"""`tinysr export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ..errors import RequestError, installs
from ..model import Checkpoint, find_checkpoint, find_exactly, load_checkpoint
from .options import CLEAN_HELP, DETAIL_HELP, Flag
from .terminal import say


@dataclass(frozen=True)
class Export:
    """Write a model as a file for other programs: ONNX for ONNX Runtime and browsers, or ncnn for Upscayl and phones.

    Example: tinysr export portrait --scale 2 --onnx portrait-x2.onnx

    Example: tinysr export portrait --scale 4 --ncnn models/portrait-x4.param
    """

    model: Annotated[Positional[str], arg(metavar="NAME|PATH")]
    """A name that `tinysr models` lists, or a checkpoint file."""
    onnx: Annotated[Path | None, arg(metavar="FILE.onnx", help_behavior_hint="")] = None
    """Write this ONNX file. It takes pictures [batch,3,height,width] of any size, float32 in [0,1]. Run it on whole
    pictures: tiles would differ a little."""
    fp16: Flag = False
    """Half precision in the ONNX file: half the size, and faster on GPUs."""
    int8: Flag = False
    """8-bit integers in the ONNX file: a third of the size, and faster on CPUs."""
    ncnn: Annotated[Path | None, arg(metavar="FILE.param", help_behavior_hint="")] = None
    """Write this ncnn file, and its weights to FILE.bin. Programs may cut pictures into tiles, because the gate is
    fixed. The name must contain the scale, for example x2."""
    scale: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 2)")] = None
    """The scale, for models that have several."""
    detail: Annotated[float, arg(metavar="0...1", help=DETAIL_HELP)] = 1.0
    clean: Annotated[float, arg(metavar="0...1", help=f"{CLEAN_HELP}.")] = 0.0

    def run(self) -> int:
        if self.onnx is None and self.ncnn is None:
            raise RequestError("Nothing to write; give --onnx FILE.onnx or --ncnn FILE.param.")
        if self.fp16 and self.int8:
            raise RequestError("--fp16 and --int8 exclude each other; choose one of them.")
        if self.onnx is None and (self.fp16 or self.int8):
            raise RequestError("--fp16 and --int8 are for ONNX files; add --onnx FILE.onnx, or leave them out.")
        path = find_checkpoint(self.model) if self.scale is None else find_exactly(self.model, self.scale)
        checkpoint = load_checkpoint(path, self.detail, self.clean)
        if self.onnx is not None:
            self._write_onnx(checkpoint, self.onnx)
        if self.ncnn is not None:
            self._write_ncnn(checkpoint, self.ncnn)
        return 0

    def _write_onnx(self, checkpoint: Checkpoint, path: Path) -> None:
        from ..engines import export_onnx

        precision = "fp16" if self.fp16 else "int8" if self.int8 else "fp32"
        closeness = export_onnx(checkpoint, path, precision)
        say(f"Wrote {path}: {checkpoint.path.stem}, scale {checkpoint.config.scale}, {precision}.")
        _say_closeness(closeness, "onnxruntime")

    def _write_ncnn(self, checkpoint: Checkpoint, path: Path) -> None:
        from ..engines import export_ncnn

        closeness = export_ncnn(checkpoint, path)
        say(f"Wrote {path} and {path.stem}.bin: {checkpoint.path.stem}, scale {checkpoint.config.scale}.")
        _say_closeness(closeness, "ncnn")


def _say_closeness(closeness: float | None, runtime: str) -> None:
    if closeness is None:
        say(f"The file was not tested, because {runtime} is not installed; {installs('export')} adds it.")
    else:
        say(f"Its results in {runtime} have a PSNR of {closeness:.0f} dB to those of PyTorch.")
