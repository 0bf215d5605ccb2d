"""Speed of training with a recipe: patches a second, where the time goes, and a comparison with a plain loop.

The plain loop computes in float32, channels first, with Adam weight by weight. It cuts its patches between the steps.

python benchmarks/training.py ../shared/data/train/portraits_london --backbones ../shared/weights
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from tinysr_core.images import list_photos
from tinysr_core.loss import Loss, load_lpips, load_vgg19
from tinysr_core.model import TinySR
from tinysr_core.trainer import Recipe, TrainingProgress, load_recipe, train
from tinysr_core.trainer.patches import PatchDataset

PHOTOS = 16
WARM = 5
RECIPES = Path(__file__).parents[1] / "training" / "recipes"
CONVOLUTIONS = {"aten::convolution", "aten::convolution_backward"}
WAITING = "enumerate(DataLoader)"
OPTIMISER = "Optimizer.step"
AVERAGING = "aten::_foreach_lerp_"


def plain_loop(recipe: Recipe, photos: list[Path], loss: Loss, folder: Path, steps: int) -> float:
    """Median seconds of a step of the plain loop."""
    dataset = PatchDataset(photos, recipe.model.scale, recipe.data, recipe.seed, folder / "plain.cache")
    network = TinySR(recipe.model)
    optimizer = torch.optim.Adam(network.parameters(), recipe.optimizer.learning_rate, foreach=False)
    times: list[float] = []
    for step in range(WARM + steps + 1):
        times.append(time.perf_counter())
        samples = [dataset[step * recipe.data.batch + i] for i in range(recipe.data.batch)]
        lr, hr = (torch.stack(patches) / 255 for patches in zip(*samples, strict=True))
        total, _ = loss(network(lr), hr)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        total.item()  # shown at every step
    return statistics.median(np.diff(times[WARM:]))


def trainer(
    run: Callable[[Callable[[TrainingProgress], None], int], object], steps: int
) -> tuple[float, dict[str, float]]:
    """Median seconds of a step of TinySR's loop; then, for as many steps under the profiler, seconds by activity."""
    profiler = profile(activities=[ProfilerActivity.CPU])
    times: list[float] = []

    def note(progress: TrainingProgress) -> None:
        times.append(time.perf_counter())
        if progress.step == WARM + steps:
            profiler.start()
            times[-1] = time.perf_counter()
        elif progress.step == WARM + 2 * steps:
            profiler.stop()

    run(note, WARM + 2 * steps + 1)
    plain, profiled = times[WARM - 1 : WARM + steps - 1], times[WARM + steps - 1 : WARM + 2 * steps]
    return statistics.median(np.diff(plain)), parts(profiler, profiled[-1] - profiled[0])


def parts(profiler: profile, wall: float) -> dict[str, float]:
    """Seconds by activity; `wall` is their total."""
    events = profiler.key_averages()

    def seconds(wanted: Callable[[str], bool]) -> float:
        return sum(event.cpu_time_total for event in events if wanted(event.key)) / 1e6

    convolutions = seconds(CONVOLUTIONS.__contains__)
    others = {
        "optimiser": seconds(lambda name: name.startswith(OPTIMISER)),
        "weight averaging": seconds(AVERAGING.__eq__),
        "waiting for patches": seconds(lambda name: name.startswith(WAITING)),
    }
    inside = sum(event.self_cpu_time_total for event in events) / 1e6
    return {
        "convolutions of the network and the loss": convolutions,
        "everything else in the network and the loss": inside - convolutions - sum(others.values()),
        **others,
        "Python": max(0.0, wall - inside),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs")
    parser.add_argument("--recipe", default="finetune", help="name of a shipped recipe")
    parser.add_argument("--backbones", type=Path, help="folder with VGG19 and LPIPS")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    recipe = load_recipe(RECIPES / f"{arguments.recipe}.toml")
    photos = list_photos([arguments.folder])[:PHOTOS]
    vgg = load_vgg19(arguments.backbones) if recipe.loss.vgg else None
    lpips = load_lpips("squeeze", arguments.backbones) if recipe.loss.lpips else None

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain = plain_loop(recipe, photos, Loss(recipe.loss, vgg, lpips), folder, arguments.steps)

        def run(report: Callable[[TrainingProgress], None], steps: int) -> object:
            short = dataclasses.replace(recipe, steps=steps)
            return train(short, photos, folder / "run", vgg_tensors=vgg, lpips=lpips, report=report)

        ours, times = trainer(run, arguments.steps)

    batch = recipe.data.batch
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"Recipe {arguments.recipe}, {batch} patches of {recipe.data.patch} x {recipe.data.patch}, {device}\n")
    print("| loop | patches/s | ms/step |\n|---|---|---|")
    for name, seconds in (("plain", plain), ("TinySR", ours)):
        print(f"| {name} | {batch / seconds:.1f} | {1000 * seconds:.0f} |")
    print(f"\nTinySR is {plain / ours:.2f} times as fast.\n\n| activity | share of TinySR's time |\n|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {100 * seconds / sum(times.values()):.1f} % |")


if __name__ == "__main__":
    main()
