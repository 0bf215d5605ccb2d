"""What became of one picture of a job."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Outcome:
    """What became of one picture. Sizes are (width, height) in pixels."""

    input: Path
    output: Path | None
    """None where it was never decided."""
    status: Literal["done", "skipped", "failed", "planned"]
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    model: str | None = None
    """Name of the checkpoint file, without its suffix."""
    clean: float | None = None
    """How much of the photo network was blended in."""
    clean_reason: str | None = None
    """What `clean=auto` found; None where the amount was given, or the model has no photo network."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])
    """One sentence for each thing that the formats made us convert or leave out."""
    skipped: Literal["finished", "kept", "larger", None] = None
    """Why it was skipped: its result is finished; a file that is not its result has the name and was kept; it is larger
    than was asked for."""
    error: str | None = None
    """Why it failed."""
    cause: Literal["memory", "disk", None] = None
    """Whether it failed because memory ran out, and may succeed while no other picture is in work; or because the disk
    is full, and the next will fail as well."""
