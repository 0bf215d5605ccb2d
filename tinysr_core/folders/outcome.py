"""The outcome of one picture or video of a job."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Outcome:
    """The outcome of one picture or video. Sizes are (width, height) in pixels."""

    input: Path
    output: Path | None
    """None where it was not decided."""
    status: Literal["done", "skipped", "failed", "planned"]
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    frames: int | None = None
    """Number of frames of a video; 0: unknown."""
    model: str | None = None
    """Name of the checkpoint file, without its suffix."""
    clean: float | None = None
    """Share of the photo network in the blend, 0 to 1."""
    clean_reason: str | None = None
    """Why `clean="auto"` chose that; None where it was given, or the model has no photo network."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])
    """What was converted or left out for the format of the result, one sentence each."""
    skipped: Literal["finished", "kept", "larger", None] = None
    """Why it was skipped: its result is finished; a file that is not its result exists and was kept; it is larger than
    `Settings.largest`."""
    error: str | None = None
    """Why it failed, in one sentence."""
    cause: Literal["memory", "disk", None] = None
    """A cause of failure that concerns other pictures. Memory ran out: it may succeed alone. The disk is full: the next
    will fail too."""
