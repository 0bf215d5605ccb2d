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

    The file takes pictures [batch,3,height,width] of any size, float32 in [0,1]. Its gate depends on the mean of its
    input, so that the tiles of a picture differ a little.

    Example: tinysr export portrait --scale 2 --onnx portrait-x2.onnx
    """

    model: Annotated[Positional[str], arg(metavar="NAME|PATH")]
    """A name that `tinysr models` lists, or a checkpoint file."""
    onnx: Annotated[Path, arg(metavar="FILE")]
    """The file to write. An existing one is replaced."""
    scale: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 2)")] = None
    """The scale, for models that have several."""
    detail: Annotated[float, arg(metavar="0...1", help=DETAIL_HELP)] = 1.0
    clean: Annotated[float, arg(metavar="0...1", help=f"{CLEAN_HELP}.")] = 0.0

    def run(self) -> int:
        from ..engines import TOLERANCE, export_onnx
        from ..model import load_checkpoint

        path = find_checkpoint(self.model) if self.scale is None else find_exactly(self.model, self.scale)
        checkpoint = load_checkpoint(path, self.detail, self.clean)
        difference = export_onnx(checkpoint, self.onnx)
        say(f"Wrote {self.onnx}: {checkpoint.path.stem}, scale {checkpoint.config.scale}.")
        if difference is None:
            say(f"The file was not tested, because onnxruntime is not installed; {installs('export')} adds it.")
        else:
            say(f"Its results differ from those of torch by at most {difference:.1e} (allowed: {TOLERANCE:.0e}).")
        return 0
