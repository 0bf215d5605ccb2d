"""What a folder job will do: which files it upscales, and which are finished or cannot be done. Needs no torch."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError
from .finder import Finder, Identities, is_file, is_folder
from .naming import BACKUP_SUFFIX, Input, Job, format_by_suffix, format_key, is_video, job_to, jobs_into_folders
from .outcome import Outcome
from .records import ResultRecords
from .settings import Settings


@dataclass(frozen=True)
class Plan:
    """What a folder job will do."""

    jobs: tuple[Job, ...]
    """The pictures and videos to be upscaled."""
    settled: tuple[Outcome, ...]
    """Those that are finished already, or cannot be done."""
    repeated: int
    """How many inputs are left out because they are results of other inputs, or are named twice."""
    passed_over: Mapping[str, int]
    """Suffix -> number of files in the folders that are no pictures."""


def plan_jobs(
    inputs: Sequence[Path],
    output: str | Path | None,
    settings: Settings,
    *,
    format: str | None = None,  # noqa: A002  (the word every picture library uses)
    name_pattern: str | None = None,
    recursive: bool = False,
    exclude: Sequence[str] = (),
    in_place: bool = False,
    keep_backup: bool = True,
    overwrite: bool = False,
) -> Plan:
    """Choose the file that each picture or video becomes, and find out which are finished or cannot be done.

    Where two results would have the same name, a converted one keeps its suffix in it: beside `x.png`, the result of
    `x.gif` is `x.gif.png`. If names still clash, those files fail.

    Args:
        inputs: files of pictures and videos, and folders of pictures. In folders, hidden files and those below `output`
            are passed over.
        output: a file for a single input, or a folder, which keeps names and tree; a text that ends with a slash is a
            folder. None: a file goes beside its input, a folder's results into a folder beside it, both with the size
            in their name.
        settings: how the files are upscaled.
        format: that of pictures, a key of `FORMATS` or a suffix such as jpg; None: that of the input, or PNG where that
            cannot be written.
        name_pattern: the name of results without suffix, with `NAME_FIELDS` in braces, for example `{name}-{model}`.
        recursive: include the folders below a folder.
        exclude: shell patterns (`*_small.jpg`, `drafts/*`); a file or folder whose name or path below its input folder
            matches one is left out.
        in_place: a result replaces its picture, which is kept as `photo.jpg.orig`. Not for videos.
        keep_backup: with `in_place`, keep that file once the result exists.
        overwrite: make finished results again, and replace files that are not results.

    Raises:
        RequestError: there is no picture or video; `output` does not fit the inputs; the pattern or the format is
            unknown.
        CheckpointError: the model is unknown.
    """
    if not inputs:
        raise RequestError("No input was given; name at least one picture or folder.")
    if in_place and (output is not None or name_pattern is not None or format is not None):
        raise RequestError("--in-place keeps names and formats; leave out --output, --format and the names of results.")
    wanted = format_key(format)
    as_folder = isinstance(output, str) and output.endswith(("/", os.sep))
    output = None if output is None else Path(output)
    finder, records, identities = Finder(recursive, exclude), ResultRecords(), Identities()
    single = len(inputs) == 1 and not is_folder(inputs[0])
    if single and output is not None and output.suffix and not as_folder and not is_folder(output):
        repeated, jobs = 0, [job_to(inputs[0], output, settings, wanted)]
    else:
        _refuse_as_folder(output, len(inputs), as_folder)
        found = list(finder.find(inputs, output, settings.size_mark, name_pattern))
        if in_place:
            found = [item for item in found if item.path.suffix != BACKUP_SUFFIX]
        chosen = _without_repeats(found, records, identities)
        repeated, jobs = len(found) - len(chosen), jobs_into_folders(chosen, settings, wanted)
    if in_place:
        jobs = [_in_place(job, keep_backup) for job in jobs]
    if not jobs and not finder.unlisted:
        where = " and ".join(str(path) for path in inputs)
        raise RequestError(f"There are no pictures in {where}; --recursive looks into the folders below too.")
    pending, settled = _settle(jobs, records, identities, settings, overwrite)
    return Plan(tuple(pending), (*finder.unlisted, *settled), repeated, dict(finder.passed_over))


def _settle(
    jobs: Sequence[Job], records: ResultRecords, identities: Identities, settings: Settings, overwrite: bool
) -> tuple[list[Job], list[Outcome]]:
    """The jobs that need work, and the outcomes of those that do not."""
    outputs = [identities.of(job.output) for job in jobs]
    fingerprint, video_fingerprint = settings.fingerprint, settings.video_fingerprint
    counts, inputs = Counter(outputs), {identities.of(job.input) for job in jobs if job.backup is None}
    pending: list[Job] = []
    settled: list[Outcome] = []
    for job, output in zip(jobs, outputs, strict=True):
        if output in inputs:
            error = f"The result of {job.input} would replace the input {job.output}; choose another -o."
            outcome = _failed(job, error)
        elif counts[output] > 1:
            outcome = _failed(job, f"{job.input} and another input would both become {job.output}; rename one of them.")
        else:
            wanted = video_fingerprint if job.is_video else fingerprint
            outcome = _outcome_without_work(job, records, wanted, overwrite)
        if outcome is None:
            pending.append(job)
        else:
            settled.append(outcome)
    return pending, settled


def _outcome_without_work(job: Job, records: ResultRecords, fingerprint: str, overwrite: bool) -> Outcome | None:
    """The outcome of a job that is finished or cannot be done; None: it has to be done."""
    if job.backup is not None and job.is_video:
        return _failed(job, f"{job.input} is a video; upscale it without --in-place.")
    if job.backup is not None and format_by_suffix(job.output) is None:
        return _failed(job, f"{job.input} has a format that cannot be written; upscale it without --in-place.")
    try:
        if job.backup is not None and job.input != job.backup:  # the original has no backup yet, or has been removed
            state = "finished" if records.source_of(job.output) is not None else "absent"
        else:
            state = records.state(job.input, job.output, fingerprint)
    except OSError as error:
        return _failed(job, f"{job.input}: no result can be named {job.output.name} ({error.strerror}).")
    if overwrite or state in ("absent", "outdated"):
        return None
    return Outcome(job.input, job.output, "skipped", skipped="finished" if state == "finished" else "kept")


def _failed(job: Job, error: str) -> Outcome:
    return Outcome(job.input, job.output, "failed", error=error)


def _without_repeats(found: Iterable[Input], records: ResultRecords, identities: Identities) -> list[Input]:
    """Each file once, without those that are results of others."""
    unique: dict[str, Input] = {}
    for item in found:
        unique.setdefault(identities.of(item.path), item)
    pairs = [(item, records.source_of(item.path)) for item in unique.values()]
    return [item for item, source in pairs if source is None or identities.of(source) not in unique]


def _in_place(job: Job, keep_backup: bool) -> Job:
    """The job with its result in the place of its input. It reads the original where an earlier run has kept it."""
    place = Path(os.path.realpath(job.input))  # a link stays; its target is replaced
    backup = place.with_name(place.name + BACKUP_SUFFIX)
    return Job(backup if is_file(backup) else place, place, job.format, backup, keep_backup)


def _refuse_as_folder(output: Path | None, count: int, as_folder: bool) -> None:
    """Refuse an `output` that cannot be the folder of several results."""
    if output is None or is_folder(output):
        return
    if is_file(output):
        raise RequestError(f"{output} is a file; several results need a folder.")
    if not as_folder and (format_by_suffix(output) is not None or is_video(output)):
        several = f"of {count} inputs" if count > 1 else "of a folder"
        raise RequestError(f"{output} names one file, but the results {several} need a folder; drop the suffix.")
