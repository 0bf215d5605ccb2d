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
    """Measure models, plain interpolation and other networks on the same pictures: PSNR-Y, SSIM-Y and, if asked for,
    LPIPS.

    Example: tinysr evaluate --data photos --scale 2 --models portrait fidelity -o table.md

    Example: tinysr evaluate --data photos --models portrait+sharpen+aa --detail 0 0.5 1 --worst 3 worst
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR...", help_behavior_hint="")] = ()
    """The same as --data."""
    data: Annotated[tuple[Path, ...], arg(metavar="DIR...", help_behavior_hint="")] = ()
    """Folders of photographs, which are shrunk first, or data sets such as Set5 with folders x2, x3, x4 of pairs."""
    scale: Annotated[int, arg(metavar="N")] = 2
    """Upscaling factor, that of all models."""
    models: Annotated[tuple[str, ...], arg(aliases=["--model"], metavar="NAME|PATH...")] = (DEFAULT_NAME,)
    """Names that `tinysr models` lists, or checkpoint files; with +sharpen or +aa or both, they are finished so."""
    detail: Annotated[tuple[float, ...], arg(metavar="0...1...")] = (1.0,)
    """Blends of each model with its faithful twin (0); 1 is the model as it is."""
    clean: Annotated[tuple[float | Literal["auto"], ...], arg(metavar="auto|0...1...")] = (0.0,)
    """Blends of each model with its photo network (1); auto is what each picture needs."""
    methods: tuple[Literal["bicubic", "lanczos"], ...] = ("bicubic", "lanczos")
    """Plain interpolations to compare with."""
    spandrel: Annotated[tuple[Path, ...], arg(metavar="FILE...", help_behavior_hint="(default: none)")] = ()
    """Weights (.pth, .safetensors) of other networks, which the package spandrel runs."""
    lpips: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: without LPIPS)")] = None
    """The folder with lpips_alex.safetensors."""
    identity: Flag = False
    """Measure how far a face recogniser finds the face from that of the original (needs the extra `identity`)."""
    worst: Annotated[tuple[int, Path] | None, arg(metavar="N DIR", help_behavior_hint="(default: none)")] = None
    """Put pictures of where each network did worst into a folder: the original, bicubic and the result, N for each."""
    device: Annotated[str, arg(metavar="auto|cpu|cuda")] = "auto"
    """Where the networks run."""
    engine: EngineName = "auto"
    """What runs the networks; auto is that of `tinysr upscale`."""
    precision: Precision = "fp32"
    """Precision of the networks; auto is that of `tinysr upscale`."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: stdout)")] = None
    """Where the table goes: .md holds means and deviations, .csv and .json every picture."""

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
            peer,
        )
        from ..loss import load_lpips

        written = {".md": as_markdown, ".csv": as_csv, ".json": as_json}.get(
            self.output.suffix if self.output else ".md"
        )
        if written is None:
            raise RequestError(f"{self.output} has no suffix of a table; write to .md, .csv or .json.")
        folders = (*self.folders, *self.data)
        if not folders:
            raise RequestError("Nothing to measure on was named; give at least one folder of photographs.")
        if self.scale < 1:
            raise RequestError(f"The scale must be at least 1, not {self.scale}.")
        for path in filter(None, (self.output and self.output.parent, self.worst and self.worst[1])):
            _make_folder(path)  # not after an hour of measuring
        networks = by_name(
            [
                network(model, self.scale, RunOptions(detail, clean, self.engine, self.device, self.precision))
                for model in self.models
                for detail in self.detail
                for clean in self.clean
            ]
            + [peer(path, self.scale, self.device) for path in self.spandrel]
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
                    say(f"{path} is written.")
        except OSError as error:
            raise TinySRError(f"The results cannot be written ({error.strerror}); choose another place.") from error
        return 0


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TinySRError(f"The folder {path} cannot be made: {error.strerror}.") from error
