"""What parts of the recipes `fidelity` and `portrait` are worth: short runs of equal steps, one part changed in each.

    python benchmarks/ablations.py ../shared/data/train ../shared/data/val --backbones ../shared/weights

`portrait` starts from the shipped fidelity weights. A third of the photographs is trained on, which takes less time to
read. Results: results/training.md.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from tinysr_core.engines import RunOptions
from tinysr_core.evaluation import evaluate, network
from tinysr_core.images import list_photos
from tinysr_core.loss import Lpips, load_lpips, load_vgg19
from tinysr_core.model import PRESETS, find_checkpoint, read_checkpoint
from tinysr_core.trainer import Recipe, load_recipe, train

RECIPES = Path(__file__).parents[1] / "training" / "recipes"
SCALE = 2
SETS = ("set5", "portraits_cc0")
EVERY = 3
"""Of so many photographs one is trained on."""

Changes = Mapping[str, Mapping[str, Any]]
"""Part of a recipe -> what is changed in it."""

VARIANTS: Mapping[str, Mapping[str, Changes]] = {
    "fidelity": {
        "as it is": {},
        "without attention": {"model": {"attention": False}},
        "preset paper": {"model": {"channels": PRESETS["paper"].channels}},
        "without fft": {"loss": {"fft": 0.0}},
        "Adam, rate 1e-3": {"optimizer": {"method": "adam", "learning_rate": 1e-3, "betas": (0.9, 0.99)}},
    },
    "portrait": {
        "as it is": {},
        "without vgg": {"loss": {"vgg": 0.0}},
        "without edge": {"loss": {"edge": 0.0}},
        "without lab": {"loss": {"lab": 0.0}},
        "without l1": {"loss": {"l1": 0.0}},
        "without lpips": {"loss": {"lpips": 0.0}},
        "vgg at conv1_2, conv2_2, conv3_2": {"loss": {"vgg_taps": ("conv1_2", "conv2_2", "conv3_2")}},
        "the paper's loss alone": {"loss": {"vgg": 1.0, "l1": 0.0, "lpips": 0.0}},
    },
}


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    parts = {part: dataclasses.replace(getattr(recipe, part), **values) for part, values in changes.items()}
    return dataclasses.replace(recipe, **parts)


def figures(path: Path, validation: Path, judge: Lpips) -> list[str]:
    """PSNR-Y and LPIPS of a checkpoint on each set."""
    method = network(str(path), SCALE, RunOptions(clean=0, engine="torch", device="cpu", precision="fp32"))[1]
    cells: list[str] = []
    for data in SETS:
        rows = list(evaluate([validation / data], SCALE, {"trained": method}, judge))
        cells += [f"{fmean(row.psnr for row in rows):.2f}", f"{fmean(row.lpips or 0 for row in rows):.4f}"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="folder of photographs")
    parser.add_argument("validation", type=Path, help=f"folder that holds {' and '.join(SETS)}")
    parser.add_argument("--backbones", type=Path, help="folder with VGG19 and LPIPS")
    parser.add_argument("--recipe", choices=VARIANTS, default="fidelity")
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    photos = list_photos([arguments.train])[::EVERY]
    vgg, lpips = load_vgg19(arguments.backbones), load_lpips("squeeze", arguments.backbones)
    judge = load_lpips("alex", arguments.backbones)
    whole = load_recipe(RECIPES / f"{arguments.recipe}.toml")
    base = read_checkpoint(find_checkpoint(whole.base, SCALE)) if whole.base != "none" else None
    titles = " | ".join(f"{data} | LPIPS" for data in SETS)
    print(f"| {arguments.recipe}, {arguments.steps} steps | {titles} |\n|---|---|---|---|---|")
    for name, changes in VARIANTS[arguments.recipe].items():
        recipe = dataclasses.replace(changed(whole, changes), steps=arguments.steps)
        with tempfile.TemporaryDirectory() as folder:
            trained = train(recipe, photos, Path(folder), vgg_tensors=vgg, lpips=lpips, base=base)
            cells = figures(trained.path, arguments.validation, judge)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
