"""`tinysr upscale --dry-run`: what a plan would do, and about how long it would take."""

import json
from typing import TYPE_CHECKING

from .terminal import duration, say, sides

if TYPE_CHECKING:
    from ..folders import Outcome, Plan, Settings


def show_plan(plan: "Plan", settings: "Settings", *, as_json: bool) -> int:
    """Print the expected outcome of each file; return the exit status."""
    from ..folders import FileUpscaler, preview, seconds_per_pixel

    previews = [preview(job, settings) for job in plan.jobs]
    for outcome in (*plan.settled, *previews):
        if as_json:
            row = {"input": outcome.input, "output": outcome.output, "status": outcome.status, "error": outcome.error}
            row |= {"input_size": outcome.input_size, "output_size": outcome.output_size, "frames": outcome.frames}
            row |= {"skipped": outcome.skipped}
            print(json.dumps(row, default=str))
        elif outcome.status == "failed":
            say(f"tinysr: {outcome.error}")
        elif outcome.status == "skipped":
            print(f"{outcome.input}: {outcome.skipped}")
        elif outcome.input_size and outcome.output_size:
            frames = "" if outcome.frames is None else f"{outcome.frames} frames, "
            size = f"{frames}{sides(outcome.input_size)} to {sides(outcome.output_size)}"
            print(f"{outcome.input} -> {outcome.output} ({size})")
    upscaler = FileUpscaler(settings)
    pending = [outcome for outcome in previews if outcome.status == "planned"]
    pixels = sum(_pixels(outcome) for outcome in pending)
    if not pending:
        say("There is nothing to do.")
    else:
        seconds = pixels * seconds_per_pixel(upscaler, settings)
        videos = sum(outcome.frames is not None for outcome in pending)
        counts = {"pictures": len(pending) - videos, "videos": videos}
        files = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        say(f"{files}, {pixels / 1e6:,.1f} megapixels of results, about {duration(seconds)} here.")
    return 1 if any(outcome.status == "failed" for outcome in (*plan.settled, *previews)) else 0


def _pixels(outcome: "Outcome") -> int:
    """Pixels of a result, of all frames."""
    width, height = outcome.output_size or (0, 0)
    return width * height * (1 if outcome.frames is None else outcome.frames)
