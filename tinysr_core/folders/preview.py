"""What a job would do, and how long it would take."""

import tempfile
import time
from pathlib import Path

import numpy as np

from ..errors import TinySRError
from ..images import Picture, read_header, write_picture
from ..postprocess import Factor, result_size
from ..video import CODECS, read_video_info
from .file_upscaler import FileUpscaler
from .naming import Job
from .outcome import Outcome
from .settings import Settings

_TRIAL_SIDE = 512


def preview(job: Job, settings: Settings) -> Outcome:
    """The outcome that a file is going to have, with status "planned". Reads only its header."""
    outcome = Outcome(job.input, job.output, "failed")
    try:
        if job.is_video:
            header = read_video_info(job.input)
            outcome.frames = header.frames
        else:
            header = read_header(job.input)
        outcome.input_size = header.width, header.height
        size = result_size(settings.finish.size or Factor(settings.scale), header.height, header.width)
    except TinySRError as error:
        outcome.error = str(error)
        return outcome
    height, width = CODECS[job.format].cropped(size.height, size.width) if job.is_video else (size.height, size.width)
    outcome.output_size = width, height
    outcome.status = "planned"
    if settings.largest is not None and max(outcome.input_size) > settings.largest:
        outcome.status, outcome.skipped = "skipped", "larger"
    return outcome


def seconds_per_pixel(upscaler: FileUpscaler, settings: Settings) -> float:
    """Seconds per pixel of a result on this machine, including reading and writing. Measured with one JPEG picture."""
    random = np.random.default_rng(0)
    coarse = random.random((1, 3, _TRIAL_SIDE // 16, _TRIAL_SIDE // 16), np.float32)
    pixels = coarse.repeat(16, 2).repeat(16, 3)
    pixels = (0.9 * pixels + 0.1 * random.random(pixels.shape, np.float32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder, "trial.jpg"), Path(folder, "result.jpg"), "jpeg")
        write_picture(Picture(pixels), job.input)
        upscaler.upscale(job, lambda done, total: None)  # a network takes longer the first time
        start = time.monotonic()
        outcome = upscaler.upscale(job, lambda done, total: None)
        width, height = outcome.output_size or (_TRIAL_SIDE, _TRIAL_SIDE)
        return (time.monotonic() - start) / (width * height)
