"""Train ESPCN (Shi et al. 2016) on our photographs and measure it, for the comparison in docs/how-it-works.md.

    python benchmarks/espcn.py ../shared/data/train --validation ../shared/data/val --lpips ../shared/weights

The network is that of the paper: three convs with 64 and 32 features, tanh, and a pixel shuffle, on luma alone. The
colours are enlarged by bicubic interpolation. It trains on the photographs, with the optimiser and with the schedule of
the recipe `fidelity`, and with the mean squared error. 6,000 steps of a scale take 4 minutes on one idle core.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import quality
import torch
import torch.nn.functional as F
from pytorch_optimizer import SOAP
from torch import Tensor, nn

from tinysr_core.evaluation import Method, evaluate, interpolation, to_8_bits, to_float
from tinysr_core.images import Pixels8, list_photos
from tinysr_core.loss import load_lpips
from tinysr_core.trainer import Recipe, load_recipe
from tinysr_core.trainer.loop import learning_rate
from tinysr_core.trainer.patches import PatchDataset, batches

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "espcn.csv"
SETS = ("set5", "set14", "portraits_cc0")
LUMA = (0.299, 0.587, 0.114)
REPORT_EVERY = 500


class Espcn(nn.Module):
    """Luma [B,1,h,w] in [0,1] -> [B,1,s*h,s*w]."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh()),
            *(nn.Conv2d(32, scale**2, 3, padding=1), nn.PixelShuffle(scale)),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(y)


def luma(picture: Tensor) -> Tensor:
    """RGB [B,3,H,W] in [0,1] -> [B,1,H,W]."""
    return (picture * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def trained(photos: Sequence[Path], scale: int, recipe: Recipe, cache: Path) -> Espcn:
    """ESPCN after the steps of the recipe. Prints the PSNR of the patches."""
    torch.manual_seed(recipe.seed)
    network = Espcn(scale)
    optimizer = SOAP(network.parameters(), betas=recipe.optimizer.betas, weight_decay=0.0)
    dataset = PatchDataset(photos, scale, recipe.data, recipe.seed, cache)
    errors: list[float] = []
    for step, indices in enumerate(batches(0, recipe.steps, recipe.data.batch, 0, 1), 1):
        lr, hr = (luma(torch.stack(patches) / 255) for patches in zip(*map(dataset.__getitem__, indices), strict=True))
        loss = F.mse_loss(network(lr), hr)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe.optimizer, step, recipe.steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
        if step % REPORT_EVERY == 0:
            psnr = -10 * torch.tensor(errors[-REPORT_EVERY:]).mean().log10()
            print(f"x{scale} step {step}: {psnr:.2f} dB", file=sys.stderr, flush=True)
    return network


def method(network: Espcn, scale: int) -> Method:
    """ESPCN for luma, bicubic interpolation for the colours."""
    bicubic = interpolation("bicubic", scale)

    @torch.inference_mode()
    def run(lr: Pixels8) -> Pixels8:
        enlarged = torch.from_numpy(to_float(bicubic(lr)))
        correction = network(luma(torch.from_numpy(to_float(lr)))) - luma(enlarged)
        return to_8_bits((enlarged + correction).numpy())

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="folders of photographs")
    parser.add_argument("--validation", type=Path, required=True, help="folder of the validation sets")
    parser.add_argument("--lpips", type=Path, required=True, help="folder of lpips_alex.safetensors")
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--steps", type=int, default=6000)
    arguments = parser.parse_args()
    lpips = load_lpips("alex", arguments.lpips)
    recipe = load_recipe(ROOT / "training" / "recipes" / "fidelity.toml")
    data = dataclasses.replace(recipe.data, patch=24, batch=16)
    recipe = dataclasses.replace(recipe, data=data, steps=arguments.steps)
    photos = list_photos(arguments.photos)
    for scale in arguments.scales:
        with tempfile.TemporaryDirectory() as folder:
            network = trained(photos, scale, recipe, Path(folder) / "photos")
        methods = {"ESPCN": method(network, scale)}
        rows = list(evaluate([arguments.validation / name for name in SETS], scale, methods, lpips))
        known = [row for row in quality.read(RESULTS) if row.scale != scale]
        measured = [*known, *(quality.Measured(**dataclasses.asdict(row)) for row in rows)]
        quality.write(sorted(measured, key=lambda row: row.scale), RESULTS)


if __name__ == "__main__":
    main()
