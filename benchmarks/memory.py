"""Time and peak memory of the whole command `tinysr upscale`, and the time of the network alone.

    python benchmarks/memory.py --sizes 1024x1024 3000x2000 6000x4000 --scale 2

Each picture is a synthetic photograph (smooth shapes and grain), saved as JPEG. "The network alone" is
`Upscaler.upscale` of its pixels, in a separate process that has already loaded the network and run it once. The network
and the commands take turns, and the best time of each counts. Results: results/memory.md.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from tinysr_core.engines import load_upscaler
from tinysr_core.images import read_picture
from tinysr_core.postprocess import parse_size

COMMANDS = {"JPEG": [], "PNG": ["--format", "png"], "JPEG, sharpened and anti-aliased": ["--sharpen", "--aa"]}
"""Result -> options of the command."""
SMALL = 600
"""Side of a picture that, like large ones, is cut into tiles."""
IN_A_CHILD = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def synthetic_photo(width: int, height: int) -> Image.Image:
    """Smooth coloured shapes with grain. Its JPEG is as large as that of a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int8)
    return Image.fromarray((pixels.astype(np.int16) + grain).clip(0, 255).astype(np.uint8))


def of_command(photo: Path, scale: str, options: list[str]) -> tuple[float, float]:
    """Seconds and peak resident memory in megabytes of one run, in a separate process."""
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", str(photo), "--scale", scale, "--overwrite"]
    seconds, peak = _output([sys.executable, "-c", IN_A_CHILD, *command, *options]).split()
    return float(seconds), int(peak) / (1024 if sys.platform != "darwin" else 1024**2)


def of_network(photo: Path, scale: str) -> float:
    """Seconds of the network alone, in a separate process."""
    return float(_output([sys.executable, __file__, "--scale", scale, "--network", str(photo)]))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def network_seconds(photo: Path, scale: str) -> float:
    """Seconds of the network alone, in this process."""
    upscaler, pixels = load_upscaler(scale=float(scale)), read_picture(photo).pixels
    upscaler.upscale(pixels[:, :, :SMALL, :SMALL])
    start = time.perf_counter()
    upscaler.upscale(pixels)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1024x1024", "3000x2000"], help="widths and heights")
    parser.add_argument("--scale", default="2")
    parser.add_argument("--rounds", type=int, default=3, help="number of runs of each")
    parser.add_argument("--network", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.network is not None:
        print(network_seconds(arguments.network, arguments.scale))
        return
    print("| picture | result | network, seconds | whole command, seconds | ratio | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        for text in arguments.sizes:
            size = parse_size(text)
            synthetic_photo(size.width, size.height).save(photo, quality=92)
            alone: list[float] = []
            runs: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for _ in range(arguments.rounds):
                alone.append(of_network(photo, arguments.scale))
                for name, options in COMMANDS.items():
                    runs[name].append(of_command(photo, arguments.scale, options))
            for name, measured in runs.items():
                seconds, peak = min(measured)[0], max(peak for _, peak in measured)
                print(
                    f"| {text} | x{arguments.scale}, {name} | {min(alone):.2f} | {seconds:.2f} |"
                    f" {seconds / min(alone):.2f} | {peak:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
