"""The files of a training run: its definition, its state, its metrics."""

import io
import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..util import atomic_write, exclusive_lock, remove_leftovers

MetricsRow = Mapping[str, Any]
"""A line of metrics.jsonl: the step, the minutes of training, and the measurements at that step."""


class RunFolder:
    """The folder of a run. All files are written atomically, except metrics.jsonl, to which lines are appended.

    run.json         what defines the run, and the versions of TinySR and its libraries
    recipe.toml      the recipe with all its values; another run can use it
    photos.cache     the decoded photographs, until training ends
    state.pt         everything needed to resume
    metrics.jsonl    one line per measurement
    preview.png      crops of the validation photographs
    report.html      curves, scores and the preview on one page
    .lock            locked while a process trains

    Raises:
        TrainingError: the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.definition, self.state = path / "run.json", path / "state.pt"
        self.photos, self.recipe = path / "photos.cache", path / "recipe.toml"
        self.metrics, self.preview, self.report = path / "metrics.jsonl", path / "preview.png", path / "report.html"
        with self.writing():
            path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Turn an OSError in the block into a TrainingError that says how to resume.

        Raises:
            TrainingError: a file could not be written.
        """
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self.path} cannot be written to ({error.strerror or error}). "
                "Free disk space or fix the permissions, then run the same command to resume."
            ) from error

    @contextmanager
    def lock(self) -> Generator[None]:
        """Lock the folder while the block runs.

        Raises:
            TrainingError: another process has locked it, here or on a machine that shares the file system.
        """
        with ExitStack() as held:
            with self.writing():
                try:
                    held.enter_context(exclusive_lock(self.path / ".lock"))
                except BlockingIOError as error:
                    raise TrainingError(f"Another process uses {self.path}; wait, or choose another folder.") from error
            yield

    def save_definition(self, definition: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Save what defines the run. If the folder has a definition already, it must be the same.

        Raises:
            TrainingError: the folder holds another run, or cannot be written to.
        """
        definition = json.loads(json.dumps(definition))
        if self.definition.is_file():
            before = json.loads(self.definition.read_text(encoding="utf-8"))
            other = sorted(key for key in definition if before.get(key) != definition[key])
            if other:
                raise TrainingError(
                    f"{self.path} holds a run with another {other[0]}; choose another folder, or delete it."
                )
            return
        with self.writing(), atomic_write(self.definition) as temporary:
            temporary.write_text(json.dumps({**definition, "versions": dict(versions)}, indent=1), encoding="utf-8")

    def save_recipe(self, text: str) -> None:
        """Save the recipe, as TOML."""
        with self.writing(), atomic_write(self.recipe) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Save the state of the run."""
        data = io.BytesIO()  # torch's own writer aborts the process if the disk is full
        torch.save(dict(state), data)
        with self.writing(), atomic_write(self.state) as temporary:
            temporary.write_bytes(data.getvalue())  # CPython 3.12.1 can crash when it collects a buffer of BytesIO

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state; None if there is none.

        Raises:
            TrainingError: the file is damaged, or of another version.
        """
        if not self.state.is_file():
            return None
        try:
            return torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch, pickle and zip raise many kinds
            raise TrainingError(
                f"{self.state} is damaged or of another version; delete it to restart the run."
            ) from error

    def rewind(self, step: int) -> list[MetricsRow]:
        """Drop the rows after `step`, which a killed process wrote after the last saved state. Returns the other
        rows."""
        lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.is_file() else []
        rows: list[MetricsRow] = [row for line in lines if (row := _parse(line)) is not None and row["step"] <= step]
        with self.writing(), atomic_write(self.metrics) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return rows

    def append(self, row: MetricsRow) -> None:
        """Append a row to metrics.jsonl."""
        with self.writing(), self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _parse(line: str) -> dict[str, Any] | None:
    """A row; None for an incomplete line of a killed process."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
