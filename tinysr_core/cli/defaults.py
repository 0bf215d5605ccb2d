"""Defaults of `tinysr upscale`: from ~/.tinysr/config.toml, overridden by environment variables like TINYSR_MODEL."""

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tyro

from ..errors import RequestError
from .options import CONFIG
from .upscale import SIZE_OPTIONS, Upscale

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]  # installed only for Python 3.10

PREFIX = "TINYSR_"
KEYS = (
    *("model", *SIZE_OPTIONS, "sharpen", "aa", "keep", "strict", "suffix", "name_pattern"),
    *("format", "quality", "subsampling"),
    *("video_codec", "video_quality"),
    *("detail", "clean", "engine", "device", "precision", "tile", "workers", "cluster"),
    *("recursive", "keep_mtime", "quiet", "verbose"),
)
"""The options that can have a default: not those that choose or replace files."""
_SHORT = {"-s": "scale"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def with_defaults(arguments: Sequence[str], environment: Mapping[str, str], config: Path) -> list[str]:
    """The arguments of `tinysr upscale ...`, with the defaults inserted before the user's own options.

    Raises:
        RequestError: the file is not TOML, or has an unknown option or an invalid value.
    """
    values = _of_file(config) | _of_environment(environment)
    names = {argument.split("=")[0] for argument in arguments}
    sizes = {f"--{name}" for name in SIZE_OPTIONS} | set(_SHORT)
    if names & sizes:  # a size on the command line replaces the default size
        values = {key: value for key, value in values.items() if key not in SIZE_OPTIONS}
    if any(not _is_valid(_flag(key, value)) for key, (value, _) in values.items()):
        _refuse(values)
    return [arguments[0], *(part for key, (value, _) in values.items() for part in _flag(key, value)), *arguments[1:]]


def _refuse(values: Mapping[str, tuple[str, str]]) -> None:
    for key, (value, origin) in values.items():
        if not _is_valid(_flag(key, value)):
            option = f"--{key.replace('_', '-')}"
            raise RequestError(f"{origin} is {value!r}, which is not valid for {option}; see `tinysr upscale --help`.")


def _of_file(path: Path) -> dict[str, tuple[str, str]]:
    """Option -> its value, and where it is set."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read ({error}); correct it or remove it.") from error
    found: dict[str, tuple[str, str]] = {}
    for name, value in table.items():
        key = name.replace("-", "_")
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1, 0)[0]
            raise RequestError(f"{path}: there is no option {name!r}; did you mean {near!r}?")
        found[key] = str(value).lower() if isinstance(value, bool) else str(value), f"{name} in {path}"
    return found


def _of_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = {key: PREFIX + key.upper() for key in KEYS}
    return {key: (environment[name], name) for key, name in names.items() if environment.get(name)}


def _flag(key: str, value: str) -> list[str]:
    """A default as arguments of the command line."""
    name = key.replace("_", "-")
    if value.lower() in _TRUE:
        return [f"--{name}"]
    if value.lower() in _FALSE:
        return []
    return [f"--{name}", value]


def _is_valid(arguments: Sequence[str]) -> bool:
    """Whether the command accepts these options."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            tyro.cli(Upscale, args=[*arguments, "--", "picture"], config=CONFIG)
    except SystemExit:
        return False
    return True
