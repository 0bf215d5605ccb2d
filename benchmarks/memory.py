"""Peak memory of the whole command `tinysr upscale`, for pictures of several sizes.

    python benchmarks/memory.py --sizes 1024x1024 6000x4000 --scale 2

Each picture is a synthetic photograph (smooth shapes and grain) saved as JPEG. Results: results/memory.md.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tinysr_core.target import parse_size


def synthetic_photo(width: int, height: int) -> Image.Image:
    """Smooth coloured shapes with grain, so that a JPEG of it is as large as one of a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int8)
    return Image.fromarray((pixels.astype(np.int16) + grain).clip(0, 255).astype(np.uint8))


def measure(folder: Path, width: int, height: int, scale: str) -> tuple[float, float]:
    """Seconds, and peak resident memory in megabytes, of one run in a process of its own."""
    photo = folder / "photo.jpg"
    synthetic_photo(width, height).save(photo, quality=92)
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", str(photo), "--scale", scale, "--overwrite"]
    script = f"import resource, subprocess, sys; r = subprocess.run({command!r}, check=True, stderr=subprocess.DEVNULL)"
    script += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    start = time.perf_counter()
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return time.perf_counter() - start, int(output.split()[-1]) / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1024x1024", "6000x4000"], help="widths and heights")
    parser.add_argument("--scale", default="2")
    arguments = parser.parse_args()
    print("| picture | result | seconds | peak memory MB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for text in arguments.sizes:
            size = parse_size(text)
            seconds, peak = measure(Path(folder), size.width, size.height, arguments.scale)
            print(f"| {text} | x{arguments.scale} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
