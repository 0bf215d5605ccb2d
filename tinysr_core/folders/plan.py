"""Which pictures are upscaled, and which file each becomes. Needs no torch."""

import os
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..errors import RequestError
from ..images import FORMATS
from .outcome import Outcome
from .records import ResultRecords
from .settings import Settings

READ_ONLY_SUFFIXES = frozenset({".gif", ".heic", ".heif"})
"""Pictures that can be read but not written: their results are PNG."""
BACKUP_SUFFIX = ".orig"
"""What is added to the name of an original that its result replaces."""
NAME_FIELDS = ("name", "model", "size")
"""What a name pattern may hold in braces: the picture's name, the model's, and the size as in `x2`."""


@dataclass(frozen=True)
class Job:
    """One picture to be upscaled."""

    input: Path
    output: Path
    format: str
    """A key of `images.FORMATS`."""
    backup: Path | None = None
    """Where the original goes when the result replaces it."""
    keep_backup: bool = True
    """Whether the backup stays when the result is there."""


@dataclass(frozen=True)
class Plan:
    """What a folder job will do."""

    jobs: tuple[Job, ...]
    """The pictures to be upscaled."""
    settled: tuple[Outcome, ...]
    """Pictures that are finished already, or cannot be done."""
    repeated: int
    """How many inputs are results of other inputs, or were named before."""
    passed_over: Mapping[str, int]
    """How many files of the folders have each suffix that is no picture's."""


@dataclass(frozen=True)
class _Input:
    """A picture, where its result goes, and the pattern of the result's name."""

    path: Path
    folder: Path
    pattern: str


class _Identities:
    """What tells files apart, whatever paths lead to them. The folders of ten thousand pictures are resolved once."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = os.path.realpath(path.parent)
        full = f"{folder}{os.sep}{path.name}"
        return os.path.normcase(os.path.realpath(full) if os.path.islink(full) else full)  # noqa: PTH114


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
    """Say which file each picture becomes, and which need nothing to be done.

    A picture whose result has the name of another picture's keeps its suffix in the name: beside `x.png`, the result of
    `x.gif` is `x.gif.png`. What still clashes fails alone.

    Args:
        inputs: picture files, and folders of them. In folders, hidden files and those below `output` are passed over.
        output: a file for a single picture, or a folder, which keeps names and tree; a text that ends with a slash is a
            folder. None: a file goes beside its input, a folder's results into a folder beside it, both with the size
            in their name.
        settings: how they are upscaled.
        format: a key of `FORMATS`, or a suffix such as jpg; None keeps the input's, or takes PNG where that cannot be
            written.
        name_pattern: the name of results without suffix, with `NAME_FIELDS` in braces, for example `{name}-{model}`.
        recursive: look into the folders below a folder too.
        exclude: patterns of shells (`*_small.jpg`, `drafts/*`); a file or folder whose name or path below its input
            folder matches one is left out.
        in_place: a result replaces its picture, which is kept as `photo.jpg.orig`.
        keep_backup: with `in_place`, keep that file when the result is there.
        overwrite: make results again that are there already, and replace files that are no results.

    Raises:
        RequestError: there is no picture; `output` does not fit the inputs; the pattern or the format is unknown.
        CheckpointError: the model is unknown.
    """
    if not inputs:
        raise RequestError("No input was given; name at least one picture or folder.")
    if in_place and (output is not None or name_pattern is not None or format is not None):
        raise RequestError("A result in place has its picture's name and format; leave out -o, name and format.")
    wanted = _format_key(format)
    as_folder = isinstance(output, str) and output.endswith(("/", os.sep))
    output = None if output is None else Path(output)
    finder, records, identities = _Finder(recursive, exclude), ResultRecords(), _Identities()
    single = len(inputs) == 1 and not _is_folder(inputs[0])
    if single and output is not None and output.suffix and not as_folder and not _is_folder(output):
        repeated, jobs = 0, [Job(inputs[0], output, _format_of_output(output, wanted))]
    else:
        _refuse_as_folder(output, len(inputs), as_folder)
        found = list(finder.find(inputs, output, settings.size_mark, name_pattern))
        if in_place:
            found = [item for item in found if item.path.suffix != BACKUP_SUFFIX]
        chosen = _without_repeats(found, records, identities)
        repeated, jobs = len(found) - len(chosen), _jobs(chosen, settings, wanted)
    if in_place:
        jobs = [_in_place(job, keep_backup) for job in jobs]
    if not jobs and not finder.unlisted:
        where = " and ".join(str(path) for path in inputs)
        raise RequestError(f"There are no pictures in {where}; --recursive looks into the folders below too.")
    pending, settled = _settle(jobs, records, identities, settings.fingerprint, overwrite)
    return Plan(tuple(pending), (*finder.unlisted, *settled), repeated, dict(finder.passed_over))


def _settle(
    jobs: Sequence[Job], records: ResultRecords, identities: _Identities, fingerprint: str, overwrite: bool
) -> tuple[list[Job], list[Outcome]]:
    """The jobs that need work, and the outcomes of those that do not."""
    outputs = [identities.of(job.output) for job in jobs]
    counts, inputs = Counter(outputs), {identities.of(job.input) for job in jobs if job.backup is None}
    pending: list[Job] = []
    settled: list[Outcome] = []
    for job, output in zip(jobs, outputs, strict=True):
        if output in inputs:
            outcome = _failed(
                job, f"The result of {job.input} would replace the input {job.output}; choose another -o."
            )
        elif counts[output] > 1:
            outcome = _failed(job, f"{job.input} and another input would both become {job.output}; rename one of them.")
        else:
            outcome = _outcome_without_work(job, records, fingerprint, overwrite)
        if outcome is None:
            pending.append(job)
        else:
            settled.append(outcome)
    return pending, settled


def _outcome_without_work(job: Job, records: ResultRecords, fingerprint: str, overwrite: bool) -> Outcome | None:
    """The outcome of a picture whose result is there already or is not possible; None: it is to be upscaled."""
    if job.backup is not None and _format_by_suffix(job.output) is None:
        return _failed(job, f"{job.input} has a format that cannot be written; upscale it without --in-place.")
    try:
        if job.backup is not None and job.input != job.backup:  # the original is still in its place, or is gone
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


def _without_repeats(found: Iterable[_Input], records: ResultRecords, identities: _Identities) -> list[_Input]:
    """Each picture once, without those that are results of others."""
    unique: dict[str, _Input] = {}
    for item in found:
        unique.setdefault(identities.of(item.path), item)
    pairs = [(item, records.source_of(item.path)) for item in unique.values()]
    return [item for item, source in pairs if source is None or identities.of(source) not in unique]


class _Finder:
    """Finds the pictures of the inputs, and notes what it passes over."""

    def __init__(self, recursive: bool, exclude: Sequence[str]) -> None:
        self._recursive, self._exclude = recursive, exclude
        self.unlisted: list[Outcome] = []
        """Folders that cannot be listed."""
        self.passed_over = Counter[str]()

    def find(self, inputs: Iterable[Path], output: Path | None, mark: str, pattern: str | None) -> Iterator[_Input]:
        """The pictures in the order of the inputs, those of a folder sorted by name."""
        for path in inputs:
            if _is_folder(path):
                root = Path(os.path.realpath(path))
                results = output or root.with_name(f"{root.name}_{mark}")
                for picture in self._walk(path, path, os.path.realpath(results)):
                    yield _Input(picture, results / picture.relative_to(path).parent, pattern or "{name}")
            else:
                yield _Input(path, output or path.parent, pattern or ("{name}" if output else "{name}_{size}"))

    def _walk(self, root: Path, folder: Path, results: str) -> Iterator[Path]:
        """Pictures in `folder` by their suffix; none from among the results of an earlier run."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            message = f"The folder {folder} cannot be listed: {error.strerror}."
            self.unlisted.append(Outcome(folder, None, "failed", error=message))
            return
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") or self._is_excluded(path, root):
                continue
            if _is_folder(path):
                inside = self._recursive and not entry.is_symlink()
                if inside and (os.path.realpath(path) != results or results == os.path.realpath(root)):
                    yield from self._walk(root, path, results)
            elif path.suffix.lower() in _READABLE_SUFFIXES:
                yield path
            elif path.suffix != BACKUP_SUFFIX:
                self.passed_over[path.suffix.lower()] += 1

    def _is_excluded(self, path: Path, root: Path) -> bool:
        below = path.relative_to(root).as_posix()
        return any(fnmatch(path.name, pattern) or fnmatch(below, pattern) for pattern in self._exclude)


_READABLE_SUFFIXES = READ_ONLY_SUFFIXES.union(*(kind.suffixes for kind in FORMATS.values()))


def _jobs(inputs: Sequence[_Input], settings: Settings, wanted: str | None) -> list[Job]:
    """The job of each input; of those that would become the same file, converted ones keep their suffix in the name."""
    plain = [_job(item, item.path.stem, settings, wanted) for item in inputs]
    outputs = Counter(job.output for job in plain)
    return [
        _job(item, item.path.name, settings, wanted)
        if outputs[job.output] > 1 and job.output.suffix != item.path.suffix
        else job
        for item, job in zip(inputs, plain, strict=True)
    ]


def _job(item: _Input, name: str, settings: Settings, wanted: str | None) -> Job:
    own = _format_by_suffix(item.path)
    key = wanted or own or "png"
    suffix = item.path.suffix if key == own else FORMATS[key].suffixes[0]
    return Job(item.path, item.folder / f"{_stem(item.pattern, name, settings)}{suffix}", key)


def _stem(pattern: str, name: str, settings: Settings) -> str:
    """The name of a result without suffix. Raises RequestError for a pattern that makes no name."""
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


def _in_place(job: Job, keep_backup: bool) -> Job:
    """The same picture, with the result in its place; upscaled from its original where an earlier run has kept that."""
    place = Path(os.path.realpath(job.input))  # of a link, what it leads to is replaced
    backup = place.with_name(place.name + BACKUP_SUFFIX)
    return Job(backup if _is_file(backup) else place, place, job.format, backup, keep_backup)


def _format_key(name: str | None) -> str | None:
    if name is None or name in FORMATS:
        return name
    found = next((key for key, kind in FORMATS.items() if f".{name}" in kind.suffixes), None)
    if found is None:
        raise RequestError(f"{name!r} is no format that can be written; choose one of {', '.join(FORMATS)}.")
    return found


def _format_by_suffix(path: Path) -> str | None:
    return next((key for key, kind in FORMATS.items() if path.suffix.lower() in kind.suffixes), None)


def _format_of_output(output: Path, wanted: str | None) -> str:
    own = _format_by_suffix(output)
    if own is None:
        suffixes = ", ".join(kind.suffixes[0] for kind in FORMATS.values())
        raise RequestError(f"{output} has the suffix of no format that can be written; choose one of {suffixes}.")
    if wanted not in (None, own):
        raise RequestError(f"{output} has the suffix of a {FORMATS[own].name}, but the format asked for is {wanted}.")
    return own


def _refuse_as_folder(output: Path | None, count: int, as_folder: bool) -> None:
    """`output` must be the folder of several results."""
    if output is None or _is_folder(output):
        return
    if _is_file(output):
        raise RequestError(f"{output} is a file; name a folder for the results of a folder or of several pictures.")
    if _format_by_suffix(output) is not None and not as_folder:
        several = f"of {count} inputs" if count > 1 else "of a folder"
        raise RequestError(f"{output} names one picture, but the results {several} need a folder; drop the suffix.")


def _is_folder(path: Path) -> bool:
    """False also where the file system does not tell: reading the file will."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises for long names


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises for long names
