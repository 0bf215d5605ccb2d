"""The file that each picture or video becomes: its name and its format."""

import os
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError
from ..images import FORMATS
from ..video import CODECS, VIDEO_SUFFIXES
from .settings import Settings

READ_ONLY_SUFFIXES = frozenset({".gif", ".heic", ".heif"})
"""Pictures that can be read but not written: their results are PNG."""
BACKUP_SUFFIX = ".orig"
"""Added to the name of an original that its result replaces."""
NAME_FIELDS = ("name", "model", "size")
"""What a name pattern may hold in braces: the picture's name, the model's, and the size as in `x2`."""


@dataclass(frozen=True)
class Input:
    """A file to be upscaled, the folder of its result, and the pattern of the result's name."""

    path: Path
    folder: Path
    pattern: str


@dataclass(frozen=True)
class Job:
    """One picture or video to be upscaled."""

    input: Path
    output: Path
    format: str
    """A key of `images.FORMATS`; for videos a key of `video.CODECS`."""
    backup: Path | None = None
    """Where the original is kept when the result replaces it."""
    keep_backup: bool = True
    """Whether the backup stays once the result exists."""

    @property
    def is_video(self) -> bool:
        return self.format in CODECS


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def format_key(name: str | None) -> str | None:
    """The key of `FORMATS` for a key or a suffix without its dot.

    Raises:
        RequestError: no format has this name.
    """
    if name is None or name in FORMATS:
        return name
    found = next((key for key, kind in FORMATS.items() if f".{name}" in kind.suffixes), None)
    if found is None:
        raise RequestError(f"The format {name!r} cannot be written; choose one of {', '.join(FORMATS)}.")
    return found


def format_by_suffix(path: Path) -> str | None:
    """The key of `FORMATS` for the suffix of a file; None: no picture of this kind can be written."""
    return next((key for key, kind in FORMATS.items() if path.suffix.lower() in kind.suffixes), None)


def job_to(source: Path, output: Path, settings: Settings, wanted: str | None) -> Job:
    """The job of one file whose output file was named.

    Raises:
        RequestError: the suffix of `output` does not fit the format.
    """
    if is_video(source):
        settings.encoding.require_suffix(output)
        return Job(source, output, settings.encoding.codec)
    own = format_by_suffix(output)
    if own is None:
        suffixes = ", ".join(kind.suffixes[0] for kind in FORMATS.values())
        raise RequestError(f"The suffix of {output} is not that of a format that can be written: {suffixes}.")
    if wanted not in (None, own):
        raise RequestError(f"{output} has the suffix of a {FORMATS[own].name}, but --format is {wanted}.")
    return Job(source, output, own)


def jobs_into_folders(inputs: Sequence[Input], settings: Settings, wanted: str | None) -> list[Job]:
    """The job of each input. Where results would have the same name, converted ones keep their suffix in it.

    Raises:
        RequestError: a pattern makes no file name.
    """
    plain = [_job(item, item.path.stem, settings, wanted) for item in inputs]
    outputs = Counter(job.output for job in plain)
    return [
        _job(item, item.path.name, settings, wanted)
        if outputs[job.output] > 1 and job.output.suffix != item.path.suffix
        else job
        for item, job in zip(inputs, plain, strict=True)
    ]


def _job(item: Input, name: str, settings: Settings, wanted: str | None) -> Job:
    if is_video(item.path):
        key = settings.encoding.codec
        suffixes = CODECS[key].suffixes
        suffix = item.path.suffix if item.path.suffix.lower() in suffixes else suffixes[0]
    else:
        own = format_by_suffix(item.path)
        key = wanted or own or "png"
        suffix = item.path.suffix if key == own else FORMATS[key].suffixes[0]
    return Job(item.path, item.folder / f"{_stem(item.pattern, name, settings)}{suffix}", key)


def _stem(pattern: str, name: str, settings: Settings) -> str:
    """The name of a result without suffix."""
    fields = {"name": lambda: name, "model": lambda: settings.model_name, "size": lambda: settings.size_mark}
    try:
        parts = list(string.Formatter().parse(pattern))
        used = [field for _, field, _, _ in parts if field is not None]
        if "name" not in used or os.path.basename(pattern) != pattern:  # noqa: PTH119  # a text, not a path
            raise ValueError
        return "".join(text + (fields[field]() if field is not None else "") for text, field, _, _ in parts)
    except (ValueError, KeyError):
        fields = ", ".join(f"{{{field}}}" for field in NAME_FIELDS)
        raise RequestError(
            f"{pattern!r} is not a pattern for file names; it needs {{name}}, may hold {fields}, and no slash."
        ) from None
