"""`tinysr-finetune FOLDER` or `python -m training FOLDER`: train TinySR on photographs."""

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from lightning.fabric import Fabric
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, Positional, arg

from tinysr_core.errors import TinySRError, TrainingError
from tinysr_core.images import list_photos
from tinysr_core.loss import Downloads, load_lpips, load_vgg19
from tinysr_core.model import (
    Checkpoint,
    ModelConfig,
    find_checkpoint,
    install_checkpoint,
    model_name,
    read_checkpoint,
    shipped_folder,
)
from tinysr_core.trainer import (
    NO_BASE,
    DataCheck,
    JudgeName,
    Recipe,
    Trained,
    check_photos,
    load_recipe,
    sized,
    train,
    trains_on_gpu,
)
from tinysr_core.util import escape_unprintable

from .check_table import check_bar, show_check
from .progress import download_bar, open_when_written, progress_bar

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "finetune"


@dataclass(frozen=True)
class RecipeFlags(Recipe):
    """The values of the recipe as flags."""

    steps: Annotated[int, arg(name="max-steps", metavar="N")] = Recipe.steps
    """Optimiser steps. The learning rate falls until the last one."""


@dataclass(frozen=True)
class Arguments:
    """Train TinySR on your photographs. To resume an interrupted run, run the same command again.

    Example: tinysr-finetune ~/portraits --max-minutes 20

    Example: tinysr-finetune ~/portraits --check-only

    Every value of a recipe is a flag too: --loss.l1 2 --optimizer.learning-rate 2e-4
    """

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR...", help_behavior_hint="")]
    """Folders with photographs; subfolders are searched too."""
    values: Annotated[RecipeFlags, arg(name="")]
    recipe: Annotated[str, arg(metavar="NAME|FILE")] = DEFAULT_RECIPE
    """Name of a built-in recipe (finetune, photo, portrait, fidelity, paper), or a TOML file."""
    scale: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the recipe's)")] = None
    """Upscaling factor."""
    name: str = "my-portraits"
    """Name of the checkpoint: NAME-xSCALE.safetensors."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs")
    """Folder for runs; the run folder is OUT/NAME-xSCALE."""
    max_minutes: Annotated[float, arg(metavar="F", help_behavior_hint="(default: until all steps are done)")] = math.inf
    """Save and stop after this number of minutes."""
    validation: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: a tenth of yours)")] = None
    """Folder with photographs for validation, which are not trained on."""
    check_only: FlagCreatePairsOff[bool] = False
    """Only check the photographs, without training; the exit status is 0 if enough of them can be used."""
    use_all: FlagCreatePairsOff[bool] = False
    """Also train on soft and strongly compressed photographs."""
    judge: Annotated[JudgeName | None, arg(help_behavior_hint="(default: the recipe's)")] = None
    """Metric that chooses the best weights. lpips-alex downloads AlexNet once (244 MB)."""
    backbones: Annotated[str | None, arg(metavar="DIR|URL", help_behavior_hint="(default: downloaded once)")] = None
    """Folder or URL of a folder with lpips_squeeze.safetensors; also with vgg19_features.safetensors and
    lpips_alex.safetensors, if the loss or the judge needs them."""
    preview: FlagCreatePairsOff[bool] = False
    """Open the report page in the browser; it reloads itself."""
    install: bool = True
    """Copy the checkpoint to ~/.tinysr/models, where the command line, ComfyUI and GIMP find it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Raises:
        SystemExit: help was requested, or the command line is invalid.
    """
    escape_unprintable()
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0")
    try:
        return _run(_parse(sys.argv[1:] if arguments is None else arguments), console)
    except (TinySRError, OSError) as error:
        print(f"tinysr-finetune: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinysr-finetune: interrupted; run the same command to resume from the last saved state", file=sys.stderr)
        return 130


def _parse(arguments: Sequence[str]) -> Arguments:
    """Parse the command line. The recipe given there sets the defaults of the recipe's flags."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default=DEFAULT_RECIPE)
    recipe = _load_recipe(first.parse_known_args(arguments)[0].recipe)
    default = Arguments(folders=tyro.MISSING, values=RecipeFlags(**_fields(recipe)))
    config = (tyro.conf.DisallowNone,)
    return tyro.cli(Arguments, args=arguments, prog="tinysr-finetune", default=default, config=config)


def _load_recipe(name: str) -> Recipe:
    path = Path(name)
    if path.suffix != ".toml":
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            names = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
            raise TrainingError(f"There is no recipe {name!r}; choose {names}, or give a TOML file.")
    return load_recipe(path)


def _run(arguments: Arguments, console: Console) -> int:
    recipe = Recipe(**_fields(arguments.values))
    scale = arguments.scale or recipe.model.scale
    base = None if recipe.base == NO_BASE else _base(recipe.base, scale)
    judge = arguments.judge or recipe.validation.judge
    validation = dataclasses.replace(recipe.validation, judge=judge)
    recipe = dataclasses.replace(recipe, model=_network(recipe, scale, base), validation=validation)
    recipe = sized(recipe, trains_on_gpu())
    run_folder = arguments.out / f"{arguments.name}-x{scale}"
    if arguments.install and arguments.name in {model_name(path) for path in shipped_folder().iterdir()}:
        raise TrainingError(f"{arguments.name!r} is the name of a shipped model; choose another --name.")

    photos = list_photos(arguments.folders, leave_out=arguments.out)
    kept = list_photos([arguments.validation]) if arguments.validation else None
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun
    nodes = int(os.environ.get("WORLD_SIZE", 1)) // devices
    fabric = Fabric(devices=devices, num_nodes=nodes)
    fabric.launch()
    with fabric.rank_zero_first(local=True):  # the first process of a machine downloads, the others then find the files
        networks = {} if arguments.check_only else _load_networks(recipe, arguments, console)
    first = fabric.is_global_zero
    checked = fabric.broadcast(_check(photos, kept, recipe, arguments.use_all, console) if first else None)
    assert checked is not None
    if checked.problem is not None:
        console.print(f"tinysr-finetune: {checked.problem}", markup=False)
        return 1
    if arguments.check_only:
        return 0

    if fabric.is_global_zero:
        run_folder.mkdir(parents=True, exist_ok=True)
        checked.write(run_folder / "photos.csv")
    with progress_bar(console) as report:
        trained = train(
            recipe,
            checked.training,
            run_folder,
            validation=checked.validation,
            name=arguments.name,
            **networks,
            base=base,
            max_minutes=arguments.max_minutes,
            devices=devices,
            nodes=nodes,
            report=open_when_written(run_folder / "report.html", report) if arguments.preview else report,
        )
    if fabric.is_global_zero:
        _report(trained, run_folder, arguments, console)
        print(trained.path)
    return 0


def _base(name: str, scale: int) -> Checkpoint:
    """The checkpoint to start from: a file of any scale, or the checkpoint of that name with exactly this scale."""
    base = read_checkpoint(find_checkpoint(name, scale))
    if base.config.scale != scale and not Path(name).expanduser().is_file():
        raise TrainingError(
            f"There are no {name} weights for ×{scale} to start from. Choose another --scale, give a file of another "
            f"scale as --base to start from its trunk, or start from random weights with --base {NO_BASE}."
        )
    return base


def _network(recipe: Recipe, scale: int, base: Checkpoint | None) -> ModelConfig:
    """The configuration to train: that of the base, which must agree with the recipe.

    Raises:
        TrainingError: the recipe has another one.
    """
    wanted = dataclasses.replace(recipe.model, scale=scale)
    if base is None:
        return wanted
    network = dataclasses.replace(base.config, scale=scale)
    if wanted not in (network, ModelConfig(scale=scale)):
        raise TrainingError(
            f"{base.path.name} has {network.channels} channels and {network.blocks} blocks, but [model] in the recipe "
            f"differs. Leave [model] out, or start from random weights with --base {NO_BASE}."
        )
    return network


def _load_networks(recipe: Recipe, arguments: Arguments, console: Console) -> dict[str, Any]:
    """The networks that the loss and the judge need, as arguments of `train`."""
    loss, place = recipe.loss, arguments.backbones
    mirror = place if place is not None and "://" in place else None
    folder = None if place is None or mirror else Path(place)
    with download_bar(console) as progress:
        downloads = Downloads(mirror, progress=progress)
        return {
            "vgg_tensors": load_vgg19(folder, downloads) if loss.vgg else None,
            "lpips": load_lpips("squeeze", folder, downloads) if loss.lpips else None,
            "alex": load_lpips("alex", folder, downloads) if recipe.validation.judge == "lpips-alex" else None,
        }


def _check(
    photos: Sequence[Path], kept: Sequence[Path] | None, recipe: Recipe, use_all: bool, console: Console
) -> DataCheck:
    side = recipe.model.scale * recipe.data.patch
    with check_bar(console) as progress:
        checked = check_photos(
            photos, side, megapixels=recipe.data.megapixels, validation=kept, use_all=use_all, progress=progress
        )
    show_check(checked, console)
    return checked


def _report(trained: Trained, run_folder: Path, arguments: Arguments, console: Console) -> None:
    """Print the result and where it is; install the checkpoint if that is wanted and it is not worse."""
    lines = [trained.ended, *([trained.verdict] if trained.verdict else [])]
    lines.append(f"The report is {run_folder / 'report.html'}.")
    if trained.better_than_base is False and arguments.install:
        lines.append("The checkpoint is not installed.")
    elif arguments.install:
        copy = install_checkpoint(trained.path)
        lines.append(f"Installed as {copy}. Choose {arguments.name} in ComfyUI or GIMP, or with --model.")
    for line in lines:
        console.print(line, markup=False)


def _fields(recipe: Recipe) -> dict[str, Any]:
    return {item.name: getattr(recipe, item.name) for item in dataclasses.fields(recipe)}


if __name__ == "__main__":
    sys.exit(main())
