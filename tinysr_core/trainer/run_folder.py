"""The files of a training run: what defines it, its state, what was measured."""

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
"""A line of metrics.jsonl: the step, the minutes, and what was measured there."""


class RunFolder:
    """Where a run keeps its files. All but the growing metrics appear whole or not at all.

    run.json         what defines the run, and the versions it began with
    recipe.toml      the recipe with all its values, to be given to another run
    photos.cache     the decoded photographs, while training goes on
    state.pt         all that is needed to go on
    metrics.jsonl    a line for each measurement
    preview.png      crops of the validation photographs
    report.html      curves, figures and the preview on one page
    .lock            held while a process trains

    Raises:
        TrainingError: the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record, self.state = path / "run.json", path / "state.pt"
        self.photos, self.recipe = path / "photos.cache", path / "recipe.toml"
        self.metrics, self.preview, self.report = path / "metrics.jsonl", path / "preview.png", path / "report.html"
        with self.writing():
            path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Tell what a failure to write means for the run.

        Raises:
            TrainingError: something in the block could not be written.
        """
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self.path} cannot be written to ({error.strerror or error}); make room or mend its rights, and the "
                "same command goes on from the last saved state."
            ) from error

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Keep other runs out of the folder while the block runs.

        Raises:
            TrainingError: another run is in it, on this machine or on one that shares the file system.
        """
        with ExitStack() as held:
            with self.writing():
                try:
                    held.enter_context(exclusive_lock(self.path / ".lock"))
                except BlockingIOError as error:
                    raise TrainingError(f"Another run is using {self.path}; wait for it, or choose another.") from error
            yield

    def keep_record(self, definition: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Write down what defines the run, or make sure that it is what was written down before.

        Raises:
            TrainingError: the folder holds another run.
        """
        definition = json.loads(json.dumps(definition))
        if self.record.is_file():
            before = json.loads(self.record.read_text(encoding="utf-8"))
            other = sorted(key for key in definition if before.get(key) != definition[key])
            if other:
                raise TrainingError(
                    f"{self.path} holds a run with another {other[0]}; give another run folder, or delete it."
                )
            return
        with self.writing(), atomic_write(self.record) as temporary:
            temporary.write_text(json.dumps({**definition, "versions": dict(versions)}, indent=1), encoding="utf-8")

    def keep_recipe(self, text: str) -> None:
        """Write down the recipe."""
        with self.writing(), atomic_write(self.recipe) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state of the run."""
        data = io.BytesIO()  # torch's own writer aborts the process when the disk is full
        torch.save(dict(state), data)
        with self.writing(), atomic_write(self.state) as temporary:
            temporary.write_bytes(data.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None where there is none.

        Raises:
            TrainingError: the file is damaged, or of another version.
        """
        if not self.state.is_file():
            return None
        try:
            return torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TrainingError(
                f"{self.state} is damaged or of another version; delete it to begin the run anew."
            ) from error

    def rewind(self, step: int) -> list[MetricsRow]:
        """The rows up to `step`; what was measured after it, by a run that was then killed, is forgotten."""
        lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.is_file() else []
        rows: list[MetricsRow] = [row for line in lines if (row := _parse(line)) is not None and row["step"] <= step]
        with self.writing(), atomic_write(self.metrics) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return rows

    def append(self, row: MetricsRow) -> None:
        """Add a measurement."""
        with self.writing(), self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _parse(line: str) -> dict[str, Any] | None:
    """A row; None for the half line that a killed process left."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
