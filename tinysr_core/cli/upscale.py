"""`tinysr upscale`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ..errors import RequestError
from ..model import DEFAULT_NAME
from .options import Flag, Json, RunFlags
from .terminal import show_job

if TYPE_CHECKING:
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

        if self.workers is not None and self.workers < 1:
            raise RequestError(f"{self.workers} workers cannot do anything; give at least 1.")
        finish = Finish(size=self.requested_size(), sharpen=self.sharpen, anti_alias=self.aa)
        settings = Settings(self.model, self.options.plain(), finish, self.quality)
        plan = plan_jobs(
            self.inputs,
            self.output,
            settings,
            format=self.format,
            recursive=self.recursive,
            overwrite=self.overwrite,
        )
        outcomes = show_job(plan, settings, workers=self.workers, cluster=self.cluster, as_json=self.json)
        return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0

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
