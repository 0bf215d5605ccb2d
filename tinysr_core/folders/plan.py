"""Which picture becomes which file: beside it, in a folder, in a tree of folders. Needs no torch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError
from ..images import FORMATS

READ_ONLY_SUFFIXES = frozenset({".gif", ".heic", ".heif"})
"""Pictures that can be read but not written: their results are PNG."""


@dataclass(frozen=True)
class Job:
    """One picture to be upscaled."""

    input: Path
    output: Path
    format: str
    """A key of `images.FORMATS`."""


def plan_jobs(
    inputs: Sequence[Path],
    output: Path | None,
    mark: str,
    *,
    format: str | None = None,  # noqa: A002  (the word every picture library uses)
    recursive: bool = False,
) -> list[Job]:
    """Say which file each picture becomes.

    Args:
        inputs: picture files, and folders of them. In folders, hidden files and those below `output` are passed over.
        output: a file for a single picture, or a folder, which keeps names and tree. None: a file goes beside its
            input, a folder's results into a folder beside it, both with `mark` in their name.
        mark: what sets the name of a result beside its input apart: `x2` in `photo_x2.jpg`.
        format: a key of `FORMATS`; None keeps the input's, or takes PNG where that cannot be written.
        recursive: look into the folders below a folder too.

    Raises:
        RequestError: there is no picture; a result would replace an input or another result; `output` does not fit.
    """
    if not inputs:
        raise RequestError("Nothing to upscale was named; give at least one picture or folder.")
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if single and output is not None and output.suffix and not output.is_dir():
        jobs = [Job(inputs[0], output, _format_of_output(output, format))]
    else:
        _refuse_as_folder(output, len(inputs))
        jobs = list(_jobs(inputs, output, mark, format, recursive))
    if not jobs:
        where = " and ".join(str(path) for path in inputs)
        raise RequestError(f"There are no pictures in {where}; --recursive looks into the folders below too.")
    _refuse_conflicts(jobs)
    return jobs


def _jobs(inputs: Iterable[Path], output: Path | None, mark: str, wanted: str | None, recursive: bool) -> Iterator[Job]:
    for path in inputs:
        if path.is_dir():
            root = path.resolve()
            folder = output or root.with_name(f"{root.name}_{mark}")
            for picture in _pictures(path, folder, recursive):
                yield _job(picture, folder / picture.relative_to(path).parent, picture.stem, wanted)
        elif output is not None:
            yield _job(path, output, path.stem, wanted)
        else:
            yield _job(path, path.parent, f"{path.stem}_{mark}", wanted)


def _job(picture: Path, folder: Path, stem: str, wanted: str | None) -> Job:
    own = _format_by_suffix(picture)
    key = wanted or own or "png"
    suffix = picture.suffix if key == own else FORMATS[key].suffixes[0]
    return Job(picture, folder / f"{stem}{suffix}", key)


def _pictures(folder: Path, results: Path, recursive: bool) -> list[Path]:
    """Pictures in `folder` by their suffix, sorted; none from among the results of an earlier run."""
    suffixes = READ_ONLY_SUFFIXES.union(*(kind.suffixes for kind in FORMATS.values()))
    results = results.resolve()
    apart = results if results != folder.resolve() else None

    def walk(current: Path) -> Iterator[Path]:
        for path in sorted(current.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if recursive and not path.is_symlink() and path.resolve() != apart:
                    yield from walk(path)
            elif path.suffix.lower() in suffixes:
                yield path

    try:
        return list(walk(folder))
    except OSError as error:
        raise RequestError(f"The folder {error.filename} cannot be looked into: {error.strerror}.") from error


def _format_by_suffix(path: Path) -> str | None:
    return next((key for key, kind in FORMATS.items() if path.suffix.lower() in kind.suffixes), None)


def _format_of_output(output: Path, wanted: str | None) -> str:
    own = _format_by_suffix(output)
    if own is None:
        suffixes = ", ".join(kind.suffixes[0] for kind in FORMATS.values())
        raise RequestError(f"{output} cannot be written, no picture format has that suffix; choose one of {suffixes}.")
    if wanted not in (None, own):
        raise RequestError(f"{output} has the suffix of a {FORMATS[own].name}, but the format asked for is {wanted}.")
    return own


def _refuse_as_folder(output: Path | None, count: int) -> None:
    """`output` must be the folder of several results."""
    if output is None or output.is_dir():
        return
    if output.exists():
        raise RequestError(f"{output} is a file; name a folder for the results of a folder or of several pictures.")
    if _format_by_suffix(output) is not None:
        several = f"of {count} inputs" if count > 1 else "of a folder"
        raise RequestError(f"{output} names one picture, but the results {several} need a folder; drop the suffix.")


def _refuse_conflicts(jobs: Sequence[Job]) -> None:
    inputs = {_identity(job.input): job.input for job in jobs}
    taken: dict[str, Job] = {}
    for job in jobs:
        identity = _identity(job.output)
        if identity in inputs:
            raise RequestError(
                f"The result of {job.input} would replace the input {inputs[identity]};"
                " name another place with -o, or leave that input out."
            )
        if identity in taken:
            raise RequestError(
                f"{taken[identity].input} and {job.input} would both become {job.output}; upscale them one by one."
            )
        taken[identity] = job


def _identity(path: Path) -> str:
    return os.path.normcase(path.resolve())
