"""Upscales picture files in one process, with the networks at hand."""

import dataclasses
import errno
import math
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..engines import Upscaler, beyond_scale
from ..errors import MemoryLimitError, PictureError, TinySRError
from ..images import FORMATS, Picture, jpeg_quality, read_header, read_picture, write_picture
from ..postprocess import ExactSize, Factor, ResultSize, result_size
from ..util import Progress, Work, atomic_write, available_bytes
from .outcome import Outcome
from .plan import Job
from .settings import Settings

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class FileUpscaler:
    """Upscales picture files. Each network is loaded once, when it is first needed; the most likely one at once.

    Raises:
        CheckpointError: the model is unknown, or its file damaged.
        RequestError: the engine, the device, the precision, the tile or the detail cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[Path, Upscaler] = {}
        self._network(settings.checkpoint())

    def upscale(self, job: Job, progress: Progress) -> Outcome:
        """Upscale one picture; whatever goes wrong with it becomes its outcome."""
        outcome = Outcome(job.input, job.output, "failed")
        start = time.monotonic()
        try:
            self._upscale(job, progress, outcome)
        except TinySRError as error:
            outcome.error = str(error)
            if isinstance(error, MemoryLimitError):
                outcome.cause = "memory"
            elif isinstance(error.__cause__, OSError) and error.__cause__.errno in DISK_FULL:
                outcome.cause = "disk"
        except MemoryError:
            outcome.error = f"{job.input}: memory ran out; close other programs or ask for a smaller size."
            outcome.cause = "memory"
        except OSError as error:
            outcome.error = f"{job.input}: {error.strerror or error}."
            outcome.cause = "disk" if error.errno in DISK_FULL else None
        except Exception as error:  # a job of ten thousand pictures must not end at one that nobody thought of
            outcome.error = f"{job.input} failed unexpectedly ({type(error).__name__}: {error}); please report it."
        outcome.seconds = round(time.monotonic() - start, 3)
        return outcome

    def _upscale(self, job: Job, progress: Progress, outcome: Outcome) -> None:
        from ..pipeline import enhance

        settings = self._settings
        if settings.largest is not None:
            header = read_header(job.input)
            if max(header.width, header.height) > settings.largest:
                outcome.status, outcome.skipped = "skipped", "larger"
                outcome.input_size = header.width, header.height
                return
        picture = read_picture(job.input, strict=settings.strict)
        times = job.input.stat()
        outcome.input_size = picture.width, picture.height
        outcome.notes += picture.notes
        path = settings.checkpoint(_factor(settings, picture))
        upscaler, clean = self._network(path).for_picture(picture.pixels, jpeg_quality(picture))
        if clean is not None:
            outcome.clean, outcome.clean_reason = clean.amount, clean.reason
        elif settings.network.clean != "auto":
            outcome.clean = settings.network.clean
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
        with _kept(job):
            outcome.notes += write_picture(
                picture, job.output, quality=settings.quality, format=job.format, keep=settings.keep
            )
        if settings.keep_mtime:
            os.utime(job.output, ns=(times.st_atime_ns, times.st_mtime_ns))
        outcome.output_size = size.width, size.height
        outcome.status = "done"

    def _network(self, path: Path) -> Upscaler:
        if path not in self._loaded:
            self._loaded[path] = self._settings.network.load(path)
        return self._loaded[path]


@contextmanager
def _kept(job: Job) -> Generator[None]:
    """Keep the original, which the block replaces, as the job's backup; take that back if the block fails."""
    if job.backup is None or job.input == job.backup:
        yield
        return
    try:
        os.link(job.input, job.backup)
    except OSError:  # a file system without hard links
        with atomic_write(job.backup) as temporary:
            shutil.copy2(job.input, temporary)
    try:
        yield
    except BaseException:
        job.backup.unlink(missing_ok=True)
        raise


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
        tile=settings.network.tile,
    )
    needed, available = work.bytes_needed(), available_bytes()
    if available is not None and needed > available:
        raise MemoryLimitError(
            f"{job.input}: a result of {size.width} x {size.height} pixels needs {needed:,} bytes of memory, and"
            f" {available:,} are free; close other programs or ask for a smaller size."
        )
