"""Time resize, sharpen and anti-alias on torch tensors, idle and while another process keeps one core busy.

    python benchmarks/postprocess.py

Prints Markdown. Results: results/comfyui.md.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from busy import busy_core
from PIL import Image

from tinysr_core.postprocess import anti_alias, resize, sharpen

ROUNDS = 3
THREADS = 2


def seconds(function: Callable[[], object]) -> float:
    """Median time, after a warm-up run."""
    function()
    times: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def stock_sharpen(image: torch.Tensor) -> torch.Tensor:
    """What ComfyUI's *Sharpen Image* computes with radius 1: a depthwise convolution with reflected borders."""
    kernel = torch.full((3, 1, 3, 3), -0.1)
    kernel[:, :, 1, 1] = 1.8
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), kernel, groups=3).clamp(0, 1)


def stock_supersample(image: torch.Tensor) -> torch.Tensor:
    """Anti-aliasing with ComfyUI's nodes: *Upscale Image By* with lanczos (Pillow's, in 8 bits) and *Image Blur*."""
    height, width = image.shape[2:]
    blurred = F.pad(_lanczos(image, 2 * height, 2 * width), (1, 1, 1, 1), mode="reflect")
    kernel = torch.full((3, 1, 3, 3), 1 / 9)
    return _lanczos(F.conv2d(blurred, kernel, groups=3), height, width)


def _lanczos(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    levels = (255 * image[0].movedim(0, -1)).clamp(0, 255).to(torch.uint8).numpy()
    resized = Image.fromarray(levels).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(resized, np.float32) / 255).movedim(-1, 0)[None]


def main() -> None:
    large, picture, small = (torch.rand(1, 3, *size) for size in ((1440, 2560), (1536, 1536), (512, 512)))
    work: dict[str, Callable[[], object]] = {
        "resize 2560 x 1440 to 1920 x 1080": lambda: resize(large, 1080, 1920),
        "torch's antialiased interpolate, same size": lambda: F.interpolate(
            large, (1080, 1920), mode="bicubic", antialias=True
        ),
        "sharpen 1536 x 1536": lambda: sharpen(picture),
        "ComfyUI: Sharpen Image, same size": lambda: stock_sharpen(picture),
        "anti-alias 1536 x 1536": lambda: anti_alias(picture),
        "ComfyUI: lanczos, Image Blur, lanczos, same size": lambda: stock_supersample(picture),
        "sharpen 512 x 512": lambda: sharpen(small),
        "ComfyUI: Sharpen Image, same size (512)": lambda: stock_sharpen(small),
        "anti-alias 512 x 512": lambda: anti_alias(small),
        "ComfyUI: lanczos, Image Blur, lanczos, same size (512)": lambda: stock_supersample(small),
    }
    torch.set_num_threads(THREADS)
    print("| task | idle | one core busy |")
    print("|---|---|---|")
    with torch.inference_mode():
        for name, function in work.items():
            row: list[str] = []
            for busy in (False, True):
                with busy_core(busy):
                    row.append(f"{seconds(function):.3f} s")
            print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
