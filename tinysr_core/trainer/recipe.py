"""Recipes: what defines a training run. The dataclasses are the schema of the TOML files."""

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
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  # only installed before Python 3.11

NO_BASE = "none"
"""The value of `Recipe.base` that starts from random weights."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser, its schedule, and the averaging of weights."""

    method: str = "adam"
    """adam, or soap (see `optimizer.build_optimizer`)."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    final_learning_rate: float = 1e-6
    """Learning rate at the last step, reached by a half cosine. If it equals the peak, the rate is constant."""
    warmup: int = 500
    """Steps of linear warm-up to the peak."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of the running averages of the gradient and of its square."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is saved; 0: no average, the weights themselves are saved."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the trained weights, apart from the photographs."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    base: str = NO_BASE
    """Name or path of the checkpoint to start from, whose architecture is used; "none": random weights."""
    steps: int = 10_000
    """Optimiser steps."""
    precision: str = "fp32"
    """Precision of the convs: fp32, bf16, or auto, which is bf16 on hardware that supports it. The rest is fp32."""
    seed: int = 0
    """Seed of the initial weights and of the patches."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file. Missing keys have their defaults.

    Raises:
        TrainingError: the file cannot be read, is not TOML, or has an unknown key or an invalid value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"The recipe {path} cannot be read: {error}; correct it or choose another.") from error
    return _build(Recipe(), table, path.name)


def dump_recipe(recipe: Recipe) -> str:
    """A recipe with all its values as TOML, which `load_recipe` can read."""
    return "\n".join(_lines(recipe, "")) + "\n"


def _lines(config: Any, name: str) -> Iterator[str]:
    values = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    tables = {key: value for key, value in values.items() if dataclasses.is_dataclass(value)}
    yield from (f"{key} = {_written(value)}" for key, value in values.items() if key not in tables)
    for key, value in tables.items():
        path = f"{name}.{key}" if name else key
        yield from ("", f"[{path}]", *_lines(value, path))


def _written(value: Any) -> str:
    """A value as TOML. For the values of recipes it equals JSON, except for mappings."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return "{ " + ", ".join(f"{json.dumps(key)} = {_written(item)}" for key, item in pairs) + " }"
    return json.dumps(value, ensure_ascii=False)


def _build(default: Any, table: Mapping[str, Any], where: str) -> Any:
    """A copy of the dataclass instance `default` with the values of `table`, converted to the types of the defaults."""
    values: dict[str, Any] = {}
    known = [item.name for item in dataclasses.fields(default)]
    for key, value in table.items():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise TrainingError(f"{where} has the unknown key {key!r}; did you mean {nearest!r}?")
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
        raise TrainingError(f"{where} = {value!r} has the wrong type; it should be like {default!r}.")
    if kind is tuple:
        like, items = cast("tuple[Any, ...]", default), cast("list[Any]", value)
        if isinstance(like[0], float) and len(items) != len(like):
            raise TrainingError(f"{where} = {value!r} should have {len(like)} numbers, like {default!r}.")
        return tuple(_convert(like[0], item, where) for item in items)
    return kind(value)
