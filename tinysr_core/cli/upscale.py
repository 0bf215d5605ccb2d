"""`tinysr upscale`."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from ..errors import RequestError
from ..model import DEFAULT_NAME
from .options import Flag, RunFlags, ShowFlags
from .terminal import say

if TYPE_CHECKING:
    from ..folders import Plan, Settings
    from ..images import Keep
    from ..postprocess import Size

SIZE_OPTIONS = ("scale", "size", "longest", "megapixels")
"""The options of which only one can be given."""


@dataclass(frozen=True)
class FileFlags:
    """Which files are read, and which are written."""

    recursive: Annotated[Flag, arg(aliases=["-r"])] = False
    """Include the folders below a folder; results keep the tree."""
    exclude: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="GLOB", help_behavior_hint="(repeatable)")] = ()
    """Leave out what matches by name or path inside folders, for example '*_small.jpg' or 'drafts/*'."""
    skip_larger_than: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Skip files whose longer side has more than N pixels."""
    strict: Flag = False
    """Refuse a truncated JPEG; without it, the part that can be read is upscaled, with a note."""
    suffix: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="(default: _x2 or the like)")] = None
    """Added to the names of results: _large makes photo_large.jpg."""
    name_pattern: Annotated[str | None, arg(metavar="PATTERN", help_behavior_hint="")] = None
    """Names of results, without .jpg or the like; {name}, {model} and {size} are filled in."""
    in_place: Flag = False
    """Replace each picture by its result; the original is kept as photo.jpg.orig."""
    no_backup: Flag = False
    """With --in-place: do not keep the originals."""
    keep_mtime: Flag = False
    """Give each result the modification time of its input."""
    overwrite: Flag = False
    """Make finished results again, and replace files that are not results of this command."""


@dataclass(frozen=True)
class VideoFlags:
    """How videos are encoded."""

    video_codec: Literal["h264", "h265", "prores", "ffv1"] = "h264"
    """h264 plays everywhere; h265 makes smaller files; prores (.mov) is for editing; ffv1 (.mkv) is lossless."""
    video_quality: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: h264 18, h265 20)")] = None
    """Constant rate factor of h264 and h265, 0 (lossless) to 51; lower is better, and makes larger files."""


@dataclass(frozen=True)
class Upscale:
    """Upscale pictures, all pictures of folders, or videos.

    Example: tinysr upscale photo.jpg --scale 3

    Example: tinysr upscale clip.mp4 --size 1920x1080 -o large.mp4

    Example: tinysr upscale photos --recursive --longest 4096 -o large
    """

    inputs: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT...", help_behavior_hint="")]
    """Files of pictures and videos, and folders of pictures; - is a picture on standard input."""
    output: Annotated[str | None, arg(aliases=["-o"], metavar="FILE|DIR", help_behavior_hint="")] = None
    """Where results are written; - is standard output. Default: beside the inputs, photo_x2.jpg or photos_x2/."""
    model: Annotated[str, arg(aliases=["-m"], metavar="NAME|PATH")] = DEFAULT_NAME
    """A name that `tinysr models` lists, or a checkpoint file."""
    scale: Annotated[
        float | None, arg(aliases=["-s"], metavar="F", help_behavior_hint="(default: the model's own, mostly 2)")
    ] = None
    """Upscaling factor, for example 1.5 or 3.7."""
    size: Annotated[str | None, arg(metavar="WxH", help_behavior_hint="")] = None
    """Exact width and height in pixels, for example 1920x1080; stretches if the aspect ratio differs."""
    longest: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Longer side in pixels."""
    megapixels: Annotated[float | None, arg(metavar="F", help_behavior_hint="")] = None
    """Size in millions of pixels."""
    sharpen: bool = False
    """Sharpen the result with an unsharp mask (radius 1.2)."""
    aa: bool = False
    """Smooth jagged edges of the result by supersampling."""
    format: Annotated[
        Literal["png", "jpeg", "jpg", "webp", "tiff", "tif", "avif", "bmp"] | None,
        arg(aliases=["-f"], help_behavior_hint="(default: the input's)"),
    ] = None
    """File format of pictures."""
    quality: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: like a JPEG source's, else 95, AVIF 90)")
    ] = None
    """1 to 100 for JPEG, WebP and AVIF."""
    subsampling: Annotated[
        Literal["4:4:4", "4:2:2", "4:2:0"] | None, arg(help_behavior_hint="(default: like a JPEG source's, else 4:4:4)")
    ] = None
    """Chroma subsampling of JPEGs."""
    keep: Literal["all", "none", "no-gps"] = "all"
    """Which metadata the results have; none still keeps colours and resolution."""
    strip: Flag = False
    """The same as --keep none."""
    network: RunFlags = field(default_factory=RunFlags)
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: as many as use all cores)")] = None
    """How many pictures are upscaled at the same time, each in its own process. Videos come one after the other."""
    cluster: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Run on a Ray cluster: HOST:PORT of its head, or auto. All its machines must see the files at the same paths."""
    video: VideoFlags = field(default_factory=VideoFlags)
    files: FileFlags = field(default_factory=FileFlags)
    show: ShowFlags = field(default_factory=ShowFlags)

    def run(self) -> int:
        from ..images import silence_decoders
        from .job_display import show_job
        from .job_preview import show_plan
        from .streams import upscale_stream

        if self.workers is not None and self.workers < 1:
            raise RequestError(f"The number of workers is {self.workers}; give at least 1.")
        if not self.show.verbose:
            silence_decoders()
        settings = self.settings()
        if "-" in (*self.inputs, self.output):
            return upscale_stream(self.inputs, self.output, self.show, settings, partial(self.plan, settings))
        plan = self.plan(settings, [Path(name) for name in self.inputs], self.output)
        for_pictures = self.format or self.quality or self.subsampling
        if for_pictures and not self.show.quiet and any(job.is_video for job in plan.jobs):
            say("--format, --quality and --subsampling are for pictures; use --video-codec and --video-quality.")
        if self.show.dry_run:
            return show_plan(plan, settings, as_json=self.show.json)
        outcomes = show_job(plan, settings, self.show, workers=self.workers, cluster=self.cluster)
        return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0

    def settings(self) -> "Settings":
        """How files are upscaled. Raises RequestError for invalid values."""
        from ..folders import Settings
        from ..postprocess import Finish
        from ..video import Encoding

        if self.strip and self.keep == "no-gps":
            raise RequestError("--strip and --keep no-gps contradict each other; give only one.")
        keep: Keep = "none" if self.strip else self.keep
        return Settings(
            self.model,
            self.network.plain(),
            Finish(size=self.requested_size(), sharpen=self.sharpen, anti_alias=self.aa),
            self.quality,
            self.subsampling,
            keep,
            strict=self.files.strict,
            largest=self.files.skip_larger_than,
            keep_mtime=self.files.keep_mtime,
            encoding=Encoding(self.video.video_codec, self.video.video_quality),
        )

    def plan(self, settings: "Settings", inputs: list[Path], output: str | None) -> "Plan":
        """The plan of the job. Raises RequestError for inputs and outputs that do not fit."""
        from ..folders import plan_jobs

        files, pattern = self.files, self.files.name_pattern
        if files.no_backup and not files.in_place:
            raise RequestError("--no-backup needs --in-place.")
        if files.suffix is not None:
            if pattern is not None:
                raise RequestError("--suffix and --name-pattern both name the results; give only one.")
            pattern = "{name}" + files.suffix.replace("{", "{{").replace("}", "}}")
        return plan_jobs(
            inputs,
            output,
            settings,
            format=self.format,
            name_pattern=pattern,
            recursive=files.recursive,
            exclude=files.exclude,
            in_place=files.in_place,
            keep_backup=not files.no_backup,
            overwrite=files.overwrite,
        )

    def requested_size(self) -> "Size | None":
        """The requested size. Raises RequestError for more than one, or an invalid one."""
        from ..postprocess import Factor, LongestSide, Megapixels, parse_size

        sizes = {
            "--scale": None if self.scale is None else Factor(self.scale),
            "--size": None if self.size is None else parse_size(self.size),
            "--longest": None if self.longest is None else LongestSide(self.longest),
            "--megapixels": None if self.megapixels is None else Megapixels(self.megapixels),
        }
        given = {option: size for option, size in sizes.items() if size is not None}
        if len(given) > 1:
            raise RequestError(f"{' and '.join(given)} set different sizes; give only one.")
        return next(iter(given.values()), None)
