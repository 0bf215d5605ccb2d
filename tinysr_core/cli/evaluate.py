"""`tinysr evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ..engines import EngineName, Precision
from ..errors import RequestError, TinySRError
from ..model import DEFAULT_NAME
from ..util import atomic_write
from .options import Flag
from .terminal import say

if TYPE_CHECKING:
    from ..evaluation import Measurement


@dataclass(frozen=True)
class Evaluate:
    """Measure models, interpolation and other networks on the same pictures: PSNR-Y, SSIM-Y and optionally LPIPS.

    Example: tinysr evaluate --data photos --scale 2 --models portrait fidelity -o table.md

    Example: tinysr evaluate --data photos --models portrait+sharpen+aa --detail 0 0.5 1 --worst 3 worst
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR...", help_behavior_hint="")] = ()
    """The same as --data."""
    data: Annotated[tuple[Path, ...], arg(metavar="DIR...", help_behavior_hint="")] = ()
    """Folders of photographs, which are downscaled first, or data sets such as Set5 with folders x2, x3, x4."""
    scale: Annotated[int, arg(metavar="N")] = 2
    """Upscaling factor of all models."""
    models: Annotated[tuple[str, ...], arg(aliases=["--model"], metavar="NAME|PATH...")] = (DEFAULT_NAME,)
    """Names that `tinysr models` lists, or checkpoint files; +sharpen and +aa add finishing steps."""
    detail: Annotated[tuple[float, ...], arg(metavar="0...1...")] = (1.0,)
    """Blends of each model with its faithful twin: 0 is the twin, 1 is the model as it is."""
    clean: Annotated[tuple[float | Literal["auto"], ...], arg(metavar="auto|0...1...")] = (0.0,)
    """Blends of each model with its photo network: 0 is the model, 1 is the photo network, auto chooses per picture."""
    methods: tuple[Literal["bicubic", "lanczos"], ...] = ("bicubic", "lanczos")
    """Interpolations to compare with."""
    spandrel: Annotated[tuple[Path, ...], arg(metavar="FILE...", help_behavior_hint="(default: none)")] = ()
    """Weights (.pth, .safetensors) of other networks. They need the package spandrel."""
    lpips: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: without LPIPS)")] = None
    """The folder with lpips_alex.safetensors."""
    identity: Flag = False
    """Measure the distance to the face of the original, by a face recogniser (needs the extra `identity`)."""
    worst: Annotated[tuple[int, Path] | None, arg(metavar="N DIR", help_behavior_hint="(default: none)")] = None
    """Write crops of the N worst places of each network into a folder: the original, bicubic and the result."""
    device: Annotated[str, arg(metavar="auto|cpu|cuda")] = "auto"
    """Where the networks run."""
    engine: EngineName = "auto"
    """What runs the networks; auto is the choice of `tinysr upscale`."""
    precision: Precision = "fp32"
    """Precision of the networks; auto is the choice of `tinysr upscale`."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: stdout)")] = None
    """The table: .md has means and deviations, .csv and .json have every picture."""

    def run(self) -> int:
        from ..engines import RunOptions
        from ..evaluation import (
            FaceRecognizer,
            Worst,
            as_csv,
            as_json,
            as_markdown,
            by_name,
            evaluate,
            interpolation,
            network,
            spandrel_network,
        )
        from ..loss import load_lpips

        written = {".md": as_markdown, ".csv": as_csv, ".json": as_json}.get(
            self.output.suffix if self.output else ".md"
        )
        if written is None:
            raise RequestError(f"{self.output} is not a table; write to .md, .csv or .json.")
        folders = (*self.folders, *self.data)
        if not folders:
            raise RequestError("No folder was given; give at least one folder of photographs.")
        if self.scale < 1:
            raise RequestError(f"The scale is {self.scale}; give at least 1.")
        for path in filter(None, (self.output and self.output.parent, self.worst and self.worst[1])):
            _make_folder(path)  # before an hour of measuring
        networks = by_name(
            [
                network(model, self.scale, RunOptions(detail, clean, self.engine, self.device, self.precision))
                for model in self.models
                for detail in self.detail
                for clean in self.clean
            ]
            + [spandrel_network(path, self.scale, self.device) for path in self.spandrel]
        )
        methods = {kernel: interpolation(kernel, self.scale) for kernel in self.methods} | networks
        lpips = load_lpips("alex", self.lpips) if self.lpips else None
        faces = FaceRecognizer() if self.identity else None
        worst = Worst(networks, self.worst[0] if self.worst else 0)
        rows: list[Measurement] = []
        for row in evaluate(folders, self.scale, methods, lpips, worst.add, faces):
            distance = "" if row.lpips is None else f", LPIPS {row.lpips:.4f}"
            person = "" if row.identity is None else f", identity {row.identity:.3f}"
            say(f"{row.data} {row.picture} {row.method}: {row.psnr:.2f} dB, {row.ssim:.4f}{distance}{person}")
            rows.append(row)
        if self.output is None:
            print(written(rows), end="")
        try:
            if self.output is not None:
                with atomic_write(self.output) as temporary:
                    temporary.write_text(written(rows), encoding="utf-8")
            if self.worst:
                for path in worst.write(self.worst[1]):
                    say(f"Wrote {path}.")
        except OSError as error:
            raise TinySRError(f"The results cannot be written ({error.strerror}); choose another path.") from error
        return 0


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TinySRError(f"The folder {path} cannot be created: {error.strerror}.") from error
