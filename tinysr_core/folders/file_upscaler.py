"""Upscale the files of pictures and videos in one process, which keeps the networks loaded."""

import dataclasses
import errno
import math
import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

from ..engines import Upscaler, beyond_scale
from ..errors import MemoryLimitError, PictureError, TinySRError
from ..images import FORMATS, Clean, Picture, jpeg_quality, read_header, read_picture, write_picture
from ..postprocess import ExactSize, Factor, ResultSize, result_size
from ..util import Progress, Work, atomic_write, available_bytes
from ..video import CODECS, VideoProgress, read_video_info, upscale_video
from .naming import Job
from .outcome import Outcome
from .settings import Settings

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
P = ParamSpec("P")


class FileUpscaler:
    """Upscales files of pictures and videos. Loads each network once, when it is first needed; the most likely one at
    once.

    Raises:
        CheckpointError: the model is unknown, or its file is damaged.
        RequestError: the engine, the device, the precision, the tile or the detail cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[Path, Upscaler] = {}
        self._network(settings.checkpoint())

    def upscale(self, job: Job, progress: Progress) -> Outcome:
        """Upscale one picture. An error becomes its outcome; an exception of `progress` is raised."""
        return _attempt(job, lambda outcome: self._upscale(job, _cancelling(progress), outcome))

    def upscale_video(self, job: Job, progress: Callable[[VideoProgress], None]) -> Outcome:
        """Upscale one video, or resume an interrupted run. Errors as for `upscale`."""
        return _attempt(job, lambda outcome: self._upscale_video(job, _cancelling(progress), outcome))

    def _upscale(self, job: Job, progress: Progress, outcome: Outcome) -> None:
        from ..pipeline import enhance

        settings = self._settings
        if settings.largest is not None:
            header = read_header(job.input)
            outcome.input_size = header.width, header.height
            if max(outcome.input_size) > settings.largest:
                outcome.status, outcome.skipped = "skipped", "larger"
                return
        picture = read_picture(job.input, strict=settings.strict)
        times = job.input.stat()
        outcome.input_size = picture.width, picture.height
        outcome.notes += picture.notes
        path = self._checkpoint(picture.height, picture.width)
        network = self._network(path)
        size = result_size(settings.finish.size or Factor(network.scale), picture.height, picture.width)
        upscaler, clean = network.for_picture(picture.pixels, jpeg_quality(picture))
        self._report_model(outcome, path, clean)
        outcome.notes += _beyond_scale(upscaler, size.factor)
        _require_memory(job, settings, picture, size, math.prod(upscaler.steps(size.factor)))
        _require_size_fits(job, size)
        _prepare_folder(job.output.parent)
        pixels, alpha = enhance(
            upscaler,
            picture.pixels,
            picture.alpha,
            dataclasses.replace(settings.finish, size=ExactSize(size.width, size.height)),
            progress=progress,
        )
        # this frees the input's pixels before writing
        picture = dataclasses.replace(picture, pixels=pixels, alpha=alpha)
        with _kept(job):
            outcome.notes += write_picture(
                picture,
                job.output,
                quality=settings.quality,
                subsampling=settings.subsampling,
                format=job.format,
                keep=settings.keep,
            )
        if settings.keep_mtime:
            os.utime(job.output, ns=(times.st_atime_ns, times.st_mtime_ns))
        outcome.output_size = size.width, size.height
        outcome.status = "done"

    def _upscale_video(self, job: Job, progress: Callable[[VideoProgress], None], outcome: Outcome) -> None:
        settings = self._settings
        info = read_video_info(job.input)
        outcome.input_size, outcome.frames = (info.width, info.height), info.frames
        if settings.largest is not None and max(outcome.input_size) > settings.largest:
            outcome.status, outcome.skipped = "skipped", "larger"
            return
        times = job.input.stat()
        path = self._checkpoint(info.height, info.width)
        upscaler = self._network(path)
        size = result_size(settings.finish.size or Factor(upscaler.scale), info.height, info.width)
        outcome.notes += _beyond_scale(upscaler, size.factor)
        _prepare_folder(job.output.parent)

        def count(state: VideoProgress) -> None:
            outcome.frames = state.done
            progress(state)

        clean = upscale_video(
            job.input,
            job.output,
            upscaler,
            settings.finish,
            settings.encoding,
            model=settings.video_fingerprint,
            keep=settings.keep,
            progress=count,
        )
        self._report_model(outcome, path, clean)
        if settings.keep_mtime:
            os.utime(job.output, ns=(times.st_atime_ns, times.st_mtime_ns))
        height, width = CODECS[job.format].cropped(size.height, size.width)
        outcome.output_size = width, height
        outcome.status = "done"

    def _checkpoint(self, height: int, width: int) -> Path:
        """The checkpoint for a picture of this size."""
        size = self._settings.finish.size
        return self._settings.checkpoint(None if size is None else result_size(size, height, width).factor)

    def _report_model(self, outcome: Outcome, path: Path, clean: Clean | None) -> None:
        outcome.model = path.stem
        if clean is not None:
            outcome.clean, outcome.clean_reason = clean.amount, clean.reason
        elif self._settings.network.clean != "auto":
            outcome.clean = self._settings.network.clean

    def _network(self, path: Path) -> Upscaler:
        if path not in self._loaded:
            self._loaded[path] = self._settings.network.load(path)
        return self._loaded[path]


class _Cancelled(BaseException):
    """Carries an exception of a progress callback, as its cause, past the handlers of errors."""


def _cancelling(progress: Callable[P, None]) -> Callable[P, None]:
    """`progress`, with its exceptions as `_Cancelled`."""

    def report(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            progress(*args, **kwargs)
        except Exception as error:
            raise _Cancelled from error

    return report


def _attempt(job: Job, work: Callable[[Outcome], None]) -> Outcome:
    """Run `work`, which completes the outcome; an error is recorded in it."""
    outcome = Outcome(job.input, job.output, "failed")
    start = time.monotonic()
    try:
        work(outcome)
    except _Cancelled as cancelled:
        raise cancelled.__cause__ or cancelled from None
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
    except Exception as error:  # an unforeseen error of one picture must not end a job of ten thousand
        outcome.error = f"{job.input} failed unexpectedly ({type(error).__name__}: {error}); please report it."
    outcome.seconds = round(time.monotonic() - start, 3)
    return outcome


def _beyond_scale(upscaler: Upscaler, factor: float) -> list[str]:
    """A note where the network alone cannot enlarge so far."""
    return [beyond_scale(upscaler.steps(factor), factor)] if factor > upscaler.scale else []


@contextmanager
def _kept(job: Job) -> Generator[None]:
    """Keep the original, which the block replaces, as the job's backup; remove the backup if the block fails."""
    if job.backup is None or job.input == job.backup:
        yield
        return
    try:
        os.link(job.input, job.backup)
    except OSError:  # the file system has no hard links
        with atomic_write(job.backup) as temporary:
            shutil.copy2(job.input, temporary)
    try:
        yield
    except BaseException:
        job.backup.unlink(missing_ok=True)
        raise


def _require_size_fits(job: Job, size: ResultSize) -> None:
    """Check that the format can hold the result. Raises PictureError."""
    kind = FORMATS[job.format]
    if max(size.height, size.width) > kind.longest:
        raise PictureError(
            f"{job.input}: {kind.name} holds at most {kind.longest} pixels per side, and the result has"
            f" {size.width} x {size.height}; add --format png."
        )


def _prepare_folder(folder: Path) -> None:
    """Create the folder of the result, and check that it can be written to. Raises PictureError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise PictureError(f"The folder {folder} is not writable; choose another one with -o.")


def _require_memory(job: Job, settings: Settings, picture: Picture, size: ResultSize, scale: int) -> None:
    """Check that the work fits into memory. Raises MemoryLimitError."""
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
            f"{job.input}: a result of {size.width} x {size.height} pixels needs {needed:,} bytes of memory, and only"
            f" {available:,} are free; close other programs or ask for a smaller size."
        )
