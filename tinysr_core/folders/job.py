"""The folder job: upscales all pictures of a plan; one that fails does not stop the rest.

Results appear whole or not at all, so a result that is there is finished, and the same job goes on where it stopped.
Needs no torch until a picture has to be upscaled.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

from ..engines import RunOptions, Upscaler, beyond_scale
from ..errors import MemoryLimitError, PictureError, RequestError, TinySRError
from ..images import FORMATS, Picture, read_picture, write_picture
from ..model import DEFAULT_NAME, find_checkpoint, read_info
from ..postprocess import ExactSize, Factor, Finish, LongestSide, Megapixels, ResultSize, result_size
from ..util import remove_leftovers
from .memory import Work, available_bytes
from .plan import Job

Report = Callable[[Path, float], None]
"""Called with the picture being worked on and the share of the whole job that is done, 0 to 1. May raise to cancel."""


@dataclass(frozen=True)
class Settings:
    """How all pictures of a job are upscaled."""

    model: str = DEFAULT_NAME
    run: RunOptions = field(default_factory=RunOptions)
    finish: Finish = field(default_factory=Finish)
    quality: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise RequestError(f"The quality must lie between 1 and 100, not {self.quality}.")

    def checkpoint(self, factor: float | None = None) -> Path:
        """The checkpoint that enlarges `factor` times; without it, the one that the job will most likely need."""
        if factor is None:
            factor = self.finish.size.factor if isinstance(self.finish.size, Factor) else 2.0
        return find_checkpoint(self.model, factor)

    @property
    def mark(self) -> str:
        """What sets the name of a result beside its input apart. Known before any picture is read.

        Raises:
            CheckpointError: the model is unknown, or no TinySR network.
        """
        match self.finish.size:
            case None:
                return f"x{read_info(self.checkpoint()).config.scale}"
            case Factor(factor):
                return f"x{factor:g}"
            case ExactSize(width, height):
                return f"{width}x{height}"
            case LongestSide(pixels):
                return f"{pixels}px"
            case Megapixels(millions):
                return f"{millions:g}mp"


@dataclass
class Outcome:
    """What became of one picture. Sizes are (width, height) in pixels."""

    input: Path
    output: Path
    status: Literal["done", "skipped", "failed"]
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    model: str | None = None
    """Name of the checkpoint file, without its suffix."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])
    """One sentence for each thing that the formats made us convert or leave out."""
    error: str | None = None
    """Why it failed."""
    out_of_memory: bool = False
    """Whether it failed for want of memory, and may succeed when less else is going on."""


Doing = Callable[[Sequence[Job], Settings, Report], Iterator[Outcome]]
"""Upscales all pictures of a job and yields the outcome of each as soon as it is known."""


def is_finished(job: Job, settings: Settings) -> bool:
    """Whether the result is there already and may stay."""
    return not settings.overwrite and job.output.exists()


def run(jobs: Iterable[Job], settings: Settings, report: Report, do: Doing | None = None) -> Iterator[Outcome]:
    """Upscale the pictures whose results are not there yet; yields the outcome of each as soon as it is known.

    A picture that fails does not stop the others. `do` does the work; None: `one_by_one`, in this process.

    Raises:
        CheckpointError: the model is unknown, or its file damaged.
        RequestError: the device, the precision or the tile cannot be used.
    """
    pending: list[Job] = []
    for job in jobs:
        if is_finished(job, settings):
            yield Outcome(job.input, job.output, "skipped")
        else:
            pending.append(job)
    if not pending:
        return
    folders = {job.output.parent for job in pending}
    try:
        for folder in folders:
            remove_leftovers(folder)  # of an earlier run that was killed
        yield from (do or one_by_one)(pending, settings, report)
    finally:
        for folder in folders:
            remove_leftovers(folder)  # of workers that were killed


def one_by_one(jobs: Sequence[Job], settings: Settings, report: Report) -> Iterator[Outcome]:
    """Upscale one picture after the other in this process."""
    desk = Desk(settings)
    ends = list(accumulate(file_size(job.input) for job in jobs))
    for job, start, end in zip(jobs, [0, *ends], ends, strict=False):
        progress = partial(_report_share, report, job.input, start / ends[-1], end / ends[-1])
        progress(0, 1)
        yield desk.upscale(job, progress)
        progress(1, 1)


def _report_share(report: Report, picture: Path, start: float, end: float, done: int, total: int) -> None:
    """Tell progress of one picture, whose share of the job runs from `start` to `end`, as progress of the job."""
    report(picture, start + (end - start) * done / total)


def file_size(path: Path) -> int:
    """Bytes of a picture file, the measure of its share of a job; at least 1."""
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1


class Desk:
    """Where pictures are upscaled in one process, with the networks at hand: each is loaded once, when first needed.

    Raises:
        CheckpointError: the model is unknown, or its file damaged.
        RequestError: the device, the precision or the tile cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[Path, Upscaler] = {}
        self._network(settings.checkpoint())  # what is wrong with model or device is said once, before any picture

    def upscale(self, job: Job, progress: Callable[[int, int], None]) -> Outcome:
        """Upscale one picture; whatever goes wrong with it becomes its outcome."""
        outcome = Outcome(job.input, job.output, "failed")
        start = time.monotonic()
        try:
            self._upscale(job, progress, outcome)
            outcome.status = "done"
        except TinySRError as error:
            outcome.error = str(error)
            outcome.out_of_memory = isinstance(error, MemoryLimitError)
        except MemoryError:
            outcome.error = f"{job.input}: memory ran out; close other programs or ask for a smaller size."
            outcome.out_of_memory = True
        except Exception as error:  # a job of ten thousand pictures must not end at one that nobody thought of
            outcome.error = f"{job.input} failed unexpectedly ({type(error).__name__}: {error}); please report it."
        outcome.seconds = round(time.monotonic() - start, 3)
        return outcome

    def _upscale(self, job: Job, progress: Callable[[int, int], None], outcome: Outcome) -> None:
        from ..pipeline import enhance

        settings = self._settings
        picture = read_picture(job.input)
        outcome.input_size = picture.width, picture.height
        outcome.notes += picture.notes
        path = settings.checkpoint(_factor(settings, picture))
        upscaler = self._network(path)
        outcome.model = path.stem
        size = result_size(settings.finish.size or Factor(upscaler.scale), picture.height, picture.width)
        steps = upscaler.steps(size.factor)
        if size.factor > upscaler.scale:
            outcome.notes.append(beyond_scale(steps, size.factor))
        _refuse_what_does_not_fit(job, settings, picture, size, math.prod(steps))
        _prepare_output(job, size)
        pixels, alpha = enhance(
            upscaler,
            picture.pixels,
            picture.alpha,
            dataclasses.replace(settings.finish, size=ExactSize(size.width, size.height)),
            progress=progress,
        )
        # the input's pixels are let go before writing
        picture = dataclasses.replace(picture, pixels=pixels, alpha=alpha)
        outcome.notes += write_picture(picture, job.output, quality=settings.quality, format=job.format)
        outcome.output_size = size.width, size.height

    def _network(self, path: Path) -> Upscaler:
        if path not in self._loaded:
            self._loaded[path] = self._settings.run.load(path)
        return self._loaded[path]


def _factor(settings: Settings, picture: Picture) -> float | None:
    size = settings.finish.size
    return size and result_size(size, picture.height, picture.width).factor


def _prepare_output(job: Job, size: ResultSize) -> None:
    """Find out before the work, not after it, what would keep the result from being written."""
    kind = FORMATS[job.format]
    if max(size.height, size.width) > kind.longest:
        raise PictureError(
            f"{job.input}: {kind.name} holds at most {kind.longest} pixels a side, the result would have"
            f" {size.width} x {size.height}; add --format png."
        )
    folder = job.output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise PictureError(f"The folder {folder} may not be written to; choose another one with -o.")


def _refuse_what_does_not_fit(job: Job, settings: Settings, picture: Picture, size: ResultSize, scale: int) -> None:
    work = Work(
        height=picture.height,
        width=picture.width,
        colours=picture.pixels.shape[1],
        alpha=picture.alpha is not None,
        scale=scale,
        result_height=size.height,
        result_width=size.width,
        post_processing=settings.finish.steps,
        tile=settings.run.tile,
    )
    needed, available = work.bytes_needed(), available_bytes()
    if available is not None and needed > available:
        raise MemoryLimitError(
            f"{job.input}: a result of {size.width} x {size.height} pixels needs {needed:,} bytes of memory, and"
            f" {available:,} are free; close other programs or ask for a smaller size."
        )
