"""The errors that a user may see. Each message says what is wrong, with the value, and then what to do."""


class TinySRError(Exception):
    """Base of all errors that a user may see. The message fits a dialog and a terminal."""


class CheckpointError(TinySRError):
    """A checkpoint is missing, damaged, of another architecture, or of another format version."""


class PictureError(TinySRError):
    """A picture cannot be read or written."""


class RequestError(TinySRError):
    """The request (a size, a device, an option) is impossible."""


class MemoryLimitError(TinySRError):
    """The result would not fit into memory, or memory ran out even with the smallest tile or batch."""


class WorkerError(TinySRError):
    """No worker process could be started, or the cluster cannot be used."""


class DataError(TinySRError):
    """Photographs, or the weights of a loss or metric network, are missing or unusable."""


class TrainingError(TinySRError):
    """Training cannot start or continue. The last saved state stays in the run folder."""


def installs(extra: str) -> str:
    """The command that installs the packages of an extra, for use inside an error message."""
    return f'`pip install ".[{extra}]"` in TinySR\'s folder'
