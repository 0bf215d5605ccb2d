"""The errors a user can meet. Every message says what was found and what to do about it."""


class TinySRError(Exception):
    """Anything TinySR refuses to do, told in one sentence fit for a dialog or a terminal."""


class CheckpointError(TinySRError):
    """A weights file is missing, damaged, foreign, or of another format version."""


class PictureError(TinySRError):
    """A picture cannot be read or written."""


class RequestError(TinySRError):
    """What was asked for (a size, a device, an option) cannot be done."""


class MemoryLimitError(TinySRError):
    """The result would not fit into memory, or memory ran out at the smallest tile."""


class WorkerError(TinySRError):
    """No worker process could be started, or the cluster cannot be used."""


class DataError(TinySRError):
    """Photographs, or the weights of a loss or metric network, cannot be used."""


class TrainingError(TinySRError):
    """Training cannot go on; the last good state is kept."""


def installs(extra: str) -> str:
    """What a user runs to have the packages of an extra, fit for the middle of a sentence."""
    return f'`pip install ".[{extra}]"` in TinySR\'s folder'
