"""What a job would do, without doing it, and how long it would take."""

import tempfile
import time
from pathlib import Path

import numpy as np

from ..errors import TinySRError
from ..images import Picture, read_header, write_picture
from ..postprocess import Factor, result_size
from .file_upscaler import FileUpscaler
from .outcome import Outcome
from .plan import Job
from .settings import Settings

_TRIAL_SIDE = 512


def preview(job: Job, settings: Settings) -> Outcome:
    """The outcome that a picture is going to have, with status "planned"; only its header is read."""
    outcome = Outcome(job.input, job.output, "failed")
    try:
        header = read_header(job.input)
        outcome.input_size = header.width, header.height
        size = settings.finish.size or Factor(settings.scale)
        result = result_size(size, header.height, header.width)
    except TinySRError as error:
        outcome.error = str(error)
        return outcome
    outcome.output_size = result.width, result.height
    outcome.status = "planned"
    if settings.largest is not None and max(outcome.input_size) > settings.largest:
        outcome.status, outcome.skipped = "skipped", "larger"
    return outcome


def seconds_per_pixel(upscaler: FileUpscaler, settings: Settings) -> float:
    """Seconds for each pixel of a result on this machine, reading and writing included, measured with one picture."""
    random = np.random.default_rng(0)
    coarse = random.random((1, 3, _TRIAL_SIDE // 16, _TRIAL_SIDE // 16), np.float32)
    pixels = coarse.repeat(16, 2).repeat(16, 3)
    pixels = (0.9 * pixels + 0.1 * random.random(pixels.shape, np.float32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder, "trial.jpg"), Path(folder, "result.jpg"), "jpeg")
        write_picture(Picture(pixels), job.input)
        upscaler.upscale(job, lambda done, total: None)  # the first run of a network takes longer
        start = time.monotonic()
        outcome = upscaler.upscale(job, lambda done, total: None)
        width, height = outcome.output_size or (_TRIAL_SIDE, _TRIAL_SIDE)
        return (time.monotonic() - start) / (width * height)
