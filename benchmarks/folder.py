"""Time a folder job with several workers: wall time of the whole command `tinysr upscale`.

    python benchmarks/folder.py --count 16 --size 1000x750 > benchmarks/results/folder.md

It compares one process with one thread, one process with a thread for each core, and workers that share the cores. All
take turns several times, and the best time counts, because other programs always take some time.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tinysr_core import __version__
from tinysr_core.postprocess import parse_size


def make_photos(folder: Path, count: int, width: int, height: int) -> None:
    """Write photos of smooth coloured shapes with grain, all different."""
    for number in range(count):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = random.integers(-6, 7, (height, width, 1))
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=92)


def seconds(folder: Path, workers: int, threads: int, options: list[str]) -> float:
    """Wall time of the command with `workers` workers of `threads` threads each."""
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", str(folder), "--workers", str(workers), *options]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    subprocess.run([*command, "--overwrite"], check=True, env=environment, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16, help="number of photos")
    parser.add_argument("--size", default="1000x750", help="width and height of a photo")
    parser.add_argument("--rounds", type=int, default=2)
    arguments, options = parser.parse_known_args()
    cores = os.cpu_count() or 1
    size = parse_size(arguments.size)
    command = " ".join(
        ["python benchmarks/folder.py", "--count", str(arguments.count), "--size", arguments.size, *options]
    )
    print(f"# A folder with several workers\n\n`{command}`,")
    print(f"TinySR {__version__}, Python {platform.python_version()}, {cores} cores.")
    print(f"Times are for the whole command, including its start; best of {arguments.rounds}.\n")
    ways = list(dict.fromkeys([(1, 1), (1, cores), *((n, cores // n) for n in (2, 4, 8, cores) if n <= cores)]))
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), arguments.count, size.width, size.height)
        times = [[seconds(Path(folder), *way, options) for way in ways] for _ in range(arguments.rounds)]
    best = [min(column) for column in zip(*times, strict=True)]
    print("| workers | threads each | seconds | speed, one worker with one thread = 1 |")
    print("|---|---|---|---|")
    for (workers, threads), taken in zip(ways, best, strict=True):
        print(f"| {workers} | {threads} | {taken:.1f} | {best[0] / taken:.2f} |")


if __name__ == "__main__":
    main()
