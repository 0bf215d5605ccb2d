"""Measurements in CSV files: a row is an object of a dataclass whose fields are str, int or float."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from tinysr_core.util import atomic_write


class Row(Protocol):
    """An object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Row)


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows in `path`; none if there is no such file."""
    if not path.is_file():
        return []
    types = kind.__annotations__
    with path.open(encoding="utf-8") as stream:
        return [
            kind(**{field.name: types[field.name](line[field.name]) for field in fields(kind)})
            for line in csv.DictReader(stream)
        ]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write at least one row, completely or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
