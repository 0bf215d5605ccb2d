"""Cost and effect of probe windows: compare the gate from a few windows with the gate from the whole picture.

    python benchmarks/attention_probes.py ../shared/data/val/portraits_cc0 --model portrait --scale 2

Prints PSNR-Y with both gates, and how many pixels the windows add to the work. Each portrait is repeated 2x2, so that
it is large enough for probe windows. Results: results/attention_probes.md.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from tinysr_core.engines import TorchEngine, Upscaler
from tinysr_core.engines.tiling import probes
from tinysr_core.evaluation import psnr_y
from tinysr_core.evaluation.table import load_pairs, to_8_bits, to_float
from tinysr_core.model import find_checkpoint, read_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="portrait")
    parser.add_argument("--scale", type=int, default=2)
    arguments = parser.parse_args()
    engine = TorchEngine.from_checkpoint(read_checkpoint(find_checkpoint(arguments.model, arguments.scale)), "cpu")
    print("| picture | PSNR, whole picture | PSNR, probe windows | difference | added pixels |")
    print("|---|---|---|---|---|")
    differences: list[float] = []
    for pair in load_pairs(arguments.folder, arguments.scale):
        image, original = to_float(np.tile(pair.lr, (2, 2, 1))), np.tile(pair.hr, (2, 2, 1))
        height, width = image.shape[2:]
        windows = probes(height, width, engine.pool_halo or 0)
        seen = sum(window.grown(engine.pool_halo or 0, height, width).area for window in windows)
        with torch.no_grad():
            whole = engine.path.model(torch.from_numpy(image)).numpy()
        reached = [
            psnr_y(to_8_bits(result), original, arguments.scale) for result in (whole, Upscaler(engine).upscale(image))
        ]
        differences.append(reached[1] - reached[0])
        share = seen / (height * width)
        print(f"| {pair.name} | {reached[0]:.3f} | {reached[1]:.3f} | {differences[-1]:+.4f} | {share:.1%} |")
    print(f"| mean | | | {np.mean(differences):+.4f}, largest {np.abs(differences).max():.4f} | |")


if __name__ == "__main__":
    main()
