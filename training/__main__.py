"""`tinysr-finetune FOLDER` or `python -m training FOLDER`: train TinySR on photographs."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tinysr_core.backbones import load_vgg19
from tinysr_core.catalog import DEFAULT_NAME, find_checkpoint
from tinysr_core.checkpoint import read_checkpoint
from tinysr_core.errors import TinySRError, TrainingError
from tinysr_core.lpips import load_lpips
from tinysr_core.photos import list_photos
from tinysr_core.recipe import Recipe, load_recipe
from tinysr_core.trainer import train

from .progress import progress_bar

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Arguments:
    """Train TinySR on the photographs in a folder. The same command goes on where an earlier one stopped.

    Example: tinysr-finetune ~/portraits --max-minutes 20
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder with photographs, searched with its subfolders."""
    recipe: str = "finetune"
    """Name of a recipe of ours, or the path of a TOML file."""
    scale: int = 2
    """Upscaling factor."""
    name: str = "my-portraits"
    """The checkpoint is called NAME-xSCALE.safetensors."""
    base: str | None = DEFAULT_NAME
    """Name or path of the checkpoint to start from; None starts afresh."""
    out: Path = field(default_factory=lambda: Path("runs"))
    """Folder for the run; it goes to OUT/NAME-xSCALE."""
    steps: int | None = None
    """Optimiser steps, instead of the recipe's."""
    max_minutes: float = float("inf")
    """Save and stop after this time."""
    backbones: Path | None = None
    """Folder with vgg19_features.safetensors and, for recipes that use it, lpips_squeeze.safetensors; without it
    torch.hub fetches VGG19."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        _run(tyro.cli(Arguments, args=arguments, prog="tinysr-finetune"))
    except (TinySRError, OSError) as error:
        print(f"tinysr-finetune: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinysr-finetune: stopped; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    return 0


def _run(arguments: Arguments) -> None:
    recipe = _recipe(arguments)
    base = read_checkpoint(find_checkpoint(arguments.base, arguments.scale)) if arguments.base else None
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # torchrun says so
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // devices
    with progress_bar(Console(stderr=True)) as report:
        trained = train(
            recipe,
            list_photos([arguments.folder]),
            arguments.out / f"{arguments.name}-x{arguments.scale}",
            name=arguments.name,
            vgg_tensors=load_vgg19(arguments.backbones) if recipe.loss.vgg else None,
            lpips=load_lpips("squeeze", arguments.backbones) if recipe.loss.lpips else None,
            base=base,
            max_minutes=arguments.max_minutes,
            devices=devices,
            nodes=nodes,
            report=report,
        )
    if os.environ.get("RANK", "0") == "0":
        print(trained.path)


def _recipe(arguments: Arguments) -> Recipe:
    path = Path(arguments.recipe)
    if path.suffix != ".toml":
        path = RECIPES / f"{arguments.recipe}.toml"
        if not path.is_file():
            names = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
            raise TrainingError(f"There is no recipe {arguments.recipe!r}; choose {names}, or give a TOML file.")
    recipe = load_recipe(path)
    model = dataclasses.replace(recipe.model, scale=arguments.scale)
    return dataclasses.replace(recipe, model=model, steps=arguments.steps or recipe.steps)


if __name__ == "__main__":
    sys.exit(main())
