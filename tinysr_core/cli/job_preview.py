"""`tinysr upscale --dry-run`: what a plan would do, and about how long it would take."""

import json
from typing import TYPE_CHECKING

from .terminal import duration, say, sides

if TYPE_CHECKING:
    from ..folders import Plan, Settings


def show_plan(plan: "Plan", settings: "Settings", *, as_json: bool) -> int:
    """Print what would become of each picture; returns the exit status."""
    from ..folders import FileUpscaler, preview, seconds_per_pixel

    previews = [preview(job, settings) for job in plan.jobs]
    for outcome in (*plan.settled, *previews):
        if as_json:
            row = {"input": outcome.input, "output": outcome.output, "status": outcome.status, "error": outcome.error}
            row |= {"input_size": outcome.input_size, "output_size": outcome.output_size, "skipped": outcome.skipped}
            print(json.dumps(row, default=str))
        elif outcome.status == "failed":
            say(f"tinysr: {outcome.error}")
        elif outcome.input_size and outcome.output_size:
            print(f"{outcome.input} -> {outcome.output} ({sides(outcome.input_size)} to {sides(outcome.output_size)})")
        else:
            print(f"{outcome.input}: {outcome.skipped}")
    upscaler = FileUpscaler(settings)
    pending = [outcome for outcome in previews if outcome.status == "planned"]
    pixels = sum(width * height for width, height in filter(None, (outcome.output_size for outcome in pending)))
    if not pending:
        say("There is nothing to do.")
    else:
        seconds = pixels * seconds_per_pixel(upscaler, settings)
        say(f"{len(pending)} pictures, {pixels / 1e6:,.1f} megapixels of results, about {duration(seconds)} here.")
    return 1 if any(outcome.status == "failed" for outcome in (*plan.settled, *previews)) else 0
