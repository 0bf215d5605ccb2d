"""`tinysr export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ..errors import installs
from ..model import find_checkpoint, find_exactly
from .options import CLEAN_HELP, DETAIL_HELP
from .terminal import say


@dataclass(frozen=True)
class Export:
    """Write a model as an ONNX file, for other runtimes and for browsers.

    The file takes pictures [batch,3,height,width] of any size, float32 in [0,1], and holds the whole network. Its gate
    follows from the mean over the picture that is put in, so a picture cut into tiles differs a little between them.

    Example: tinysr export portrait --scale 2 --onnx portrait-x2.onnx
    """

    model: Annotated[Positional[str], arg(metavar="NAME|PATH")]
    """A name that `tinysr models` lists, or a checkpoint file."""
    onnx: Annotated[Path, arg(metavar="FILE")]
    """The file to write; one that is there is replaced."""
    scale: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 2)")] = None
    """Which scale of a model that has several."""
    detail: Annotated[float, arg(metavar="0...1", help=DETAIL_HELP)] = 1.0
    clean: Annotated[float, arg(metavar="0...1", help=f"{CLEAN_HELP}.")] = 0.0

    def run(self) -> int:
        from ..engines import TOLERANCE, export_onnx
        from ..model import load_checkpoint

        path = find_checkpoint(self.model) if self.scale is None else find_exactly(self.model, self.scale)
        checkpoint = load_checkpoint(path, self.detail, self.clean)
        difference = export_onnx(checkpoint, self.onnx)
        say(f"{self.onnx} is written: {checkpoint.path.stem}, which enlarges {checkpoint.config.scale} times.")
        if difference is None:
            say(f"It was not run, because onnxruntime is not installed; {installs('export')} adds it.")
        else:
            say(
                f"onnxruntime makes of pictures of several sizes what torch makes: {difference:.1e} apart at most"
                f" (allowed: {TOLERANCE:.0e})."
            )
        return 0
