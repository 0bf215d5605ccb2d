"""The command line, `tinysr`. Each command is a dataclass whose fields are its options.

Results that scripts read go to stdout, everything else to stderr. Exit status: 0 all is well, 1 something failed or was
refused, 2 the command line makes no sense, 130 stopped by Ctrl-C. Modules that load slowly are imported where they are
used, so that help and lists come at once.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from .catalog import DEFAULT_NAME, SUFFIX, list_checkpoints, model_name
from .checkpoint import CheckpointInfo, read_info
from .errors import RequestError, TinySRError
from .terminal import say, show_facts, show_models, show_reports, work

if TYPE_CHECKING:
    from .gimp_install import Profile
    from .target import Target

Flag = FlagCreatePairsOff[bool]
Json = Annotated[Flag, arg(name="json", help="Print JSON on stdout, for scripts.")]


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
    tile: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 512)")] = None
    """Side of the tiles that are worked on, in pixels of the input. It changes memory and speed, never the result."""
    device: Annotated[str, arg(metavar="auto|cpu|cuda")] = "auto"
    """Where the network runs; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Precision of the network; auto is fp16 on CUDA, else fp32."""
    recursive: Flag = False
    """Look into the folders below a folder too; results keep the tree."""
    overwrite: Flag = False
    """Make results again that are there already."""
    json: Json = False

    def run(self) -> int:
        from .batch import Settings
        from .jobs import plan

        settings = Settings(
            model=self.model,
            target=self.target(),
            sharpen=self.sharpen,
            anti_alias=self.aa,
            quality=self.quality,
            tile=self.tile,
            device=self.device,
            precision=self.precision,
            overwrite=self.overwrite,
        )
        jobs = plan(self.inputs, self.output, settings.mark, format=self.format, recursive=self.recursive)
        outcomes = work(jobs, settings, self.json)
        return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0

    def target(self) -> "Target | None":
        """The size asked for. Raises RequestError for more than one, or nonsense."""
        from .target import Factor, LongestSide, Megapixels, parse_size

        targets = {
            "--scale": None if self.scale is None else Factor(self.scale),
            "--size": None if self.size is None else parse_size(self.size),
            "--longest": None if self.longest is None else LongestSide(self.longest),
            "--megapixels": None if self.megapixels is None else Megapixels(self.megapixels),
        }
        given = {option: target for option, target in targets.items() if target is not None}
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
            print(json.dumps([_described(info) for info in infos], indent=2))
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
        facts = _described(read_info(self.file)) if self.file.suffix == SUFFIX else _described_picture(self.file)
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
        from .compare import write_page

        write_page(self.a, self.b, self.output)
        say(f"{self.output} is written; open it in a browser.")
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
        from .gimp_install import install

        return show_reports(install(_profiles(self.folder), str(self.python)), "The plug-in is installed in")


@dataclass(frozen=True)
class GimpUninstall:
    """Remove the plug-in from GIMP 3."""

    folder: GimpFolder = None
    """GIMP's settings folder, the one above its plug-ins folder."""

    def run(self) -> int:
        from .gimp_install import uninstall

        return show_reports(uninstall(_profiles(self.folder)), "The plug-in is removed from")


@dataclass(frozen=True)
class GimpCheck:
    """See whether the plug-in is installed, of this version, and able to run."""

    folder: GimpFolder = None
    """GIMP's settings folder, the one above its plug-ins folder."""

    def run(self) -> int:
        from .gimp_install import check

        return show_reports(check(_profiles(self.folder)), "The plug-in works in")


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
    | Annotated[Gimp, subcommand("gimp")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tinysr` with `argv` (None: those of the process) and return its exit status.

    Raises:
        SystemExit: help was asked for, or the command line makes no sense.
    """
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]  # a union of commands, which tyro takes and its types do not
        prog="tinysr",
        description="TinySR enlarges portraits with a tiny network. `tinysr COMMAND --help` tells about a command.",
        args=argv,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone),
    )
    try:
        return command.run()
    except TinySRError as error:
        say(f"tinysr: {error}")
        return 1
    except KeyboardInterrupt:
        say("tinysr: stopped. What was finished is kept; the same command goes on from there.")
        return 130


def _described(info: CheckpointInfo) -> dict[str, Any]:
    return {
        "name": model_name(info.path),
        "path": str(info.path),
        "parameters": info.config.parameters,
        **dataclasses.asdict(info.config),
        "card": dict(info.card),
    }


def _described_picture(path: Path) -> dict[str, Any]:
    from .images import read_picture

    picture = read_picture(path)
    return {
        "path": str(path),
        "width": picture.width,
        "height": picture.height,
        "colours": "grey" if picture.grey else "RGB",
        "alpha": picture.alpha is not None,
        "bits": picture.bits,
        "dpi": picture.dpi,
        "icc_bytes": len(picture.icc or b""),
        "exif_bytes": len(picture.exif or b""),
        "notes": list(picture.notes),
    }


def _profiles(folder: Path | None) -> "list[Profile]":
    from .gimp_install import Profile, find_profiles

    return [Profile(folder)] if folder else find_profiles(Path.home(), os.environ)


if __name__ == "__main__":
    sys.exit(main())
