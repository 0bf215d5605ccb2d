"""What defines a training run: dataclasses are the schema, TOML is the file."""

import dataclasses
import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..errors import TrainingError
from ..loss import LossConfig
from ..model import ModelConfig
from .patches import DataConfig
from .validation import ValidationConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  # only needed before Python 3.11

NO_BASE = "none"


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser, its schedule, and the averaging of weights."""

    method: str = "adam"
    """adam, or soap (see `optimizer.build_optimizer`)."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    final_learning_rate: float = 1e-6
    """Learning rate at the last step, reached by a half cosine; the peak itself keeps it constant."""
    warmup: int = 500
    """Steps of linear rise to the peak."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of the averages of the gradient and of its square."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is saved; 0 saves the weights themselves."""


@dataclass(frozen=True)
class Recipe:
    """Everything that, with the photographs, decides the trained weights."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    base: str = NO_BASE
    """Name or path of the checkpoint to start from; its network is the one that is trained. "none" starts afresh."""
    steps: int = 10_000
    """Optimiser steps."""
    precision: str = "fp32"
    """Arithmetic of the convs: fp32, bf16, or auto: bf16 where the machine computes in it. The rest is fp32 always."""
    seed: int = 0
    """Seed of the first weights and of the patches."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file; what it leaves out has the default.

    Raises:
        TrainingError: the file is not TOML, or has a key or value that the schema does not know.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"The recipe {path} cannot be read: {error}.") from error
    return _build(Recipe(), table, path.name)


def dump_recipe(recipe: Recipe) -> str:
    """All values of a recipe as TOML, which `load_recipe` reads again."""
    return "\n".join(_lines(recipe, "")) + "\n"


def _lines(config: Any, name: str) -> Iterator[str]:
    values = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    tables = {key: value for key, value in values.items() if dataclasses.is_dataclass(value)}
    yield from (f"{key} = {_written(value)}" for key, value in values.items() if key not in tables)
    for key, value in tables.items():
        path = f"{name}.{key}" if name else key
        yield from ("", f"[{path}]", *_lines(value, path))


def _written(value: Any) -> str:
    """A value in TOML, which writes what a recipe holds as JSON does, mappings excepted."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return "{ " + ", ".join(f"{json.dumps(key)} = {_written(item)}" for key, item in pairs) + " }"
    return json.dumps(value, ensure_ascii=False)


def _build(default: Any, table: Mapping[str, Any], where: str) -> Any:
    """A copy of the dataclass instance `default` with the values of `table`, each of the kind that the default has."""
    values: dict[str, Any] = {}
    known = [item.name for item in dataclasses.fields(default)]
    for key, value in table.items():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise TrainingError(f"{where} has the unknown key {key!r}; the nearest known one is {nearest!r}.")
        values[key] = _convert(getattr(default, key), value, f"{where}: {key}")
    try:
        return dataclasses.replace(default, **values)
    except ValueError as error:
        raise TrainingError(f"{where}: {error}.") from error


def _convert(default: Any, value: Any, where: str) -> Any:
    kind: type[Any] = type(default)
    if dataclasses.is_dataclass(default) and isinstance(value, dict):
        return _build(default, cast("dict[str, Any]", value), where)
    written_as = {tuple: list, float: (int, float)}.get(kind, kind)
    if not isinstance(value, written_as) or isinstance(value, bool) != (kind is bool):
        raise TrainingError(f"{where} = {value!r} should be like {default!r}.")
    if kind is tuple:
        like, items = cast("tuple[Any, ...]", default), cast("list[Any]", value)
        if isinstance(like[0], float) and len(items) != len(like):
            raise TrainingError(f"{where} = {value!r} should have {len(like)} numbers, like {default!r}.")
        return tuple(_convert(like[0], item, where) for item in items)
    return kind(value)
