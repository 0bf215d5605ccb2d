"""The command line, `tinysr`. Each command is a dataclass whose fields are its options.

Results that scripts read go to stdout, everything else to stderr. Exit status: 0 all is well, 1 something failed or was
refused, 2 the command line makes no sense, 130 stopped by Ctrl-C. Modules that load slowly are imported where they are
used, so that help and lists come at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it; see `util.threads`

from ..engines import EngineName, Precision
from ..errors import RequestError, TinySRError, installs
from ..model import DEFAULT_NAME, SUFFIX, find_checkpoint, find_exactly, list_checkpoints, read_info
from ..util import atomic_write
from .options import DETAIL_HELP, Flag, Json, RunFlags
from .terminal import model_facts, picture_facts, say, show_facts, show_models, show_reports, work

if TYPE_CHECKING:
    from ..evaluation import Measurement
    from ..folders import Doing
    from ..gimp import Profile
    from ..postprocess import Size


@dataclass(frozen=True)
class Upscale:
    """Upscale pictures, or all pictures of folders.

    Example: tinysr upscale photo.jpg --scale 3

    Example: tinysr upscale photos --recursive --longest 4096 -o large
    """

    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT...", help_behavior_hint="")]
    """Picture files, and folders of them."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE|DIR", help_behavior_hint="")] = None
    """Where results go. Without it photo.jpg becomes photo_x2.jpg beside it, and the folder photos becomes photos_x2; a
    format that cannot be written (GIF, HEIC) becomes PNG. Results that are there already are kept."""
    model: Annotated[str, arg(metavar="NAME|PATH")] = DEFAULT_NAME
    """A name that `tinysr models` lists, or a checkpoint file."""
    scale: Annotated[float | None, arg(metavar="F", help_behavior_hint="(default: the model's own, mostly 2)")] = None
    """How many times larger, 1.5 or 3.7 for example."""
    size: Annotated[str | None, arg(metavar="WxH", help_behavior_hint="")] = None
    """Exact width and height in pixels, for example 1920x1080; stretches where the ratio differs."""
    longest: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Pixels of the longer side."""
    megapixels: Annotated[float | None, arg(metavar="F", help_behavior_hint="")] = None
    """Millions of pixels."""
    sharpen: bool = False
    """Sharpen the result with an unsharp mask (radius 1.2)."""
    aa: bool = False
    """Smooth jagged edges of the result by supersampling."""
    format: Annotated[
        Literal["png", "jpeg", "webp", "tiff", "avif", "bmp"] | None, arg(help_behavior_hint="(default: the input's)")
    ] = None
    """File format of the results."""
    quality: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 95, AVIF 90)")] = None
    """1 to 100 for JPEG, WebP and AVIF."""
    options: RunFlags = field(default_factory=RunFlags)
    recursive: Flag = False
    """Look into the folders below a folder too; results keep the tree."""
    overwrite: Flag = False
    """Make results again that are there already."""
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: what keeps the machine busy)")] = None
    """How many pictures are worked on at the same time, each in a process of its own."""
    cluster: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Work on a Ray cluster: HOST:PORT of its head, or auto. Inputs and results lie where all its machines see them."""
    json: Json = False

    def run(self) -> int:
        from ..folders import Settings, plan_jobs
        from ..postprocess import Finish

        finish = Finish(size=self.requested_size(), sharpen=self.sharpen, anti_alias=self.aa)
        settings = Settings(self.model, self.options.plain(), finish, self.quality, self.overwrite)
        jobs = plan_jobs(self.inputs, self.output, settings.mark, format=self.format, recursive=self.recursive)
        outcomes = work(jobs, settings, self.doing(), self.json)
        return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0

    def doing(self) -> "Doing":
        """Who does the work. Raises RequestError for less than one worker."""
        from ..folders import in_processes, on_cluster

        if self.workers is not None and self.workers < 1:
            raise RequestError(f"{self.workers} workers cannot do anything; give at least 1.")
        if self.cluster is not None:
            return partial(on_cluster, address=self.cluster, workers=self.workers)
        return partial(in_processes, workers=self.workers)

    def requested_size(self) -> "Size | None":
        """The size asked for. Raises RequestError for more than one, or nonsense."""
        from ..postprocess import Factor, LongestSide, Megapixels, parse_size

        sizes = {
            "--scale": None if self.scale is None else Factor(self.scale),
            "--size": None if self.size is None else parse_size(self.size),
            "--longest": None if self.longest is None else LongestSide(self.longest),
            "--megapixels": None if self.megapixels is None else Megapixels(self.megapixels),
        }
        given = {option: size for option, size in sizes.items() if size is not None}
        if len(given) > 1:
            raise RequestError(f"{' and '.join(given)} ask for different sizes; give only one of them.")
        return next(iter(given.values()), None)


@dataclass(frozen=True)
class Models:
    """List the models that can be used, the shipped ones and those in ~/.tinysr/models.

    Example: tinysr models
    """

    json: Json = False

    def run(self) -> int:
        infos, errors = list_checkpoints()
        if self.json:
            print(json.dumps([model_facts(info) for info in infos], indent=2))
        else:
            show_models(infos)
        for error in errors:
            say(f"tinysr: {error}")
        return 0


@dataclass(frozen=True)
class Info:
    """Tell about a checkpoint (its model card), or about a picture.

    Example: tinysr info photo.jpg
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .safetensors file or a picture."""
    json: Json = False

    def run(self) -> int:
        facts = model_facts(read_info(self.file)) if self.file.suffix == SUFFIX else picture_facts(self.file)
        if self.json:
            print(json.dumps(facts, indent=2))
        else:
            show_facts(facts)
        return 0


@dataclass(frozen=True)
class Compare:
    """Write one HTML page with a slider between two pictures. It needs no other file and no network.

    Example: tinysr compare photo.jpg photo_x2.jpg -o compare.html
    """

    a: Annotated[Positional[Path], arg(metavar="A")]
    """The picture on the left; it is shown as large as B."""
    b: Annotated[Positional[Path], arg(metavar="B")]
    """The picture on the right."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="PAGE")] = Path("compare.html")
    """The page; one that is there is replaced."""

    def run(self) -> int:
        from .compare_page import write_page

        write_page(self.a, self.b, self.output)
        say(f"{self.output} is written; open it in a browser.")
        return 0


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
    methods: tuple[Literal["bicubic", "lanczos"], ...] = ("bicubic", "lanczos")
    """Plain interpolations to compare with."""
    spandrel: Annotated[tuple[Path, ...], arg(metavar="FILE...", help_behavior_hint="(default: none)")] = ()
    """Weights (.pth, .safetensors) of other networks, which the package spandrel runs."""
    lpips: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: without LPIPS)")] = None
    """The folder with lpips_alex.safetensors."""
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
        from ..evaluation import Worst, as_csv, as_json, as_markdown, by_name, evaluate, interpolation, network, peer
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
                network(model, self.scale, RunOptions(share, self.engine, self.device, self.precision))
                for model in self.models
                for share in self.detail
            ]
            + [peer(path, self.scale, self.device) for path in self.spandrel]
        )
        methods = {kernel: interpolation(kernel, self.scale) for kernel in self.methods} | networks
        lpips = load_lpips("alex", self.lpips) if self.lpips else None
        worst = Worst(networks, self.worst[0] if self.worst else 0)
        rows: list[Measurement] = []
        for row in evaluate(folders, self.scale, methods, lpips, worst.see):
            distance = "" if row.lpips is None else f", LPIPS {row.lpips:.4f}"
            say(f"{row.data} {row.picture} {row.method}: {row.psnr:.2f} dB, {row.ssim:.4f}{distance}")
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
            raise RequestError(f"The results cannot be written ({error.strerror}); choose another place.") from error
        return 0


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

    def run(self) -> int:
        from ..engines import TOLERANCE, export_onnx
        from ..model import load_checkpoint

        path = find_checkpoint(self.model) if self.scale is None else find_exactly(self.model, self.scale)
        checkpoint = load_checkpoint(path, self.detail)
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


GimpFolder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: every GIMP 3 profile found)")]


@dataclass(frozen=True)
class GimpInstall:
    """Put the plug-in where GIMP 3 finds it, and let it use this Python."""

    folder: GimpFolder = None
    """GIMP's settings folder, the one above its plug-ins folder."""
    python: Annotated[Path, arg(metavar="FILE", help_behavior_hint="(default: this one)")] = Path(sys.executable)
    """The Python that has TinySR."""

    def run(self) -> int:
        from ..gimp import install_plugin

        return show_reports(install_plugin(_profiles(self.folder), str(self.python)), "The plug-in is installed in")


@dataclass(frozen=True)
class GimpUninstall:
    """Remove the plug-in from GIMP 3."""

    folder: GimpFolder = None
    """GIMP's settings folder, the one above its plug-ins folder."""

    def run(self) -> int:
        from ..gimp import uninstall_plugin

        return show_reports(uninstall_plugin(_profiles(self.folder)), "The plug-in is removed from")


@dataclass(frozen=True)
class GimpCheck:
    """See whether the plug-in is installed, of this version, and able to run."""

    folder: GimpFolder = None
    """GIMP's settings folder, the one above its plug-ins folder."""

    def run(self) -> int:
        from ..gimp import check_plugin

        return show_reports(check_plugin(_profiles(self.folder)), "The plug-in works in")


@dataclass(frozen=True)
class Gimp:
    """Install the plug-in for GIMP 3, remove it, or see whether it works.

    Example: tinysr gimp install
    """

    action: (
        Annotated[GimpInstall, subcommand("install")]
        | Annotated[GimpUninstall, subcommand("uninstall")]
        | Annotated[GimpCheck, subcommand("check")]
    )

    def run(self) -> int:
        return self.action.run()


Command = (
    Annotated[Upscale, subcommand("upscale")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Info, subcommand("info")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Gimp, subcommand("gimp")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tinysr` with `argv` (None: those of the process) and return its exit status.

    Raises:
        SystemExit: help was asked for, or the command line makes no sense.
    """
    command: Any = tyro.cli(
        Command,
        prog="tinysr",
        description="TinySR enlarges portraits with a tiny network. `tinysr COMMAND --help` tells about a command.",
        args=argv,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone),
    )
    try:
        status = command.run()
        sys.stdout.flush()
        return status
    except TinySRError as error:
        say(f"tinysr: {error}")
        return 1
    except BrokenPipeError:  # who reads our output has gone, as `head` does; at exit Python would write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        goes_on = " What was finished is kept; the same command goes on from there."
        say("tinysr: stopped." + (goes_on if isinstance(command, Upscale) else ""))
        return 130


def script() -> None:
    """The process `tinysr`. It ends at once: to take everything apart first would take up to 0.2 s."""
    status = main()
    with suppress(OSError):  # nobody reads on; `main` has said so where it matters
        sys.stdout.flush()  # what was printed before an error
    os._exit(status)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"The folder {path} cannot be made: {error.strerror}.") from error


def _profiles(folder: Path | None) -> "list[Profile]":
    from ..gimp import Profile, find_profiles

    return [Profile(folder)] if folder else find_profiles(Path.home(), os.environ)
