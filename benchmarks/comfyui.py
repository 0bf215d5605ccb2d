"""Compare TinySR Upscale with ComfyUI's stock node, in one process: speed, seams and memory.

    path/to/ComfyUI's/python benchmarks/comfyui.py path/to/ComfyUI portrait.jpg [--busy]
    path/to/ComfyUI's/python benchmarks/comfyui.py path/to/ComfyUI --memory ours|stock

Prints Markdown. Results: results/comfyui.md.
"""

import argparse
import asyncio
import importlib
import itertools
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from busy import busy_core
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).parents[1]
CHECKPOINT = "tinysr-portrait-x2.safetensors"
ROUNDS = 3
SIDES = (512, 1536)
FRAMES, SIDE = 100, 512
Node = Callable[..., Tensor]


def load_nodes(checkout: Path) -> tuple[Node, Node]:
    """The two nodes as functions of an IMAGE, with the same network: `ours(image, "fp32", tile)` and `stock(image)`."""
    sys.path.insert(0, str(checkout))
    sys.argv = ["main.py"] + ([] if torch.cuda.is_available() else ["--cpu"])
    importlib.import_module("comfy.options").enable_args_parsing()
    comfyui_nodes = importlib.import_module("nodes")
    stock_class = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    assert asyncio.run(comfyui_nodes.load_custom_node(str(ROOT))), "the pack did not load"
    classes = comfyui_nodes.NODE_CLASS_MAPPINGS
    (model,) = classes["TinySRLoader"]().load(CHECKPOINT)
    upscale = classes["TinySRUpscale"]().upscale
    widgets = {"factor": 2.0, "width": 0, "height": 0, "megapixels": 4.0, "device": "auto"}

    def ours(image: Tensor, precision: str = "fp32", tile: int = 0) -> Tensor:
        return upscale(model, image, size="network scale", precision=precision, tile=tile, **widgets)[0]

    return ours, lambda image: stock_class.execute(model, image)[0]


def measure_speed(ours: Node, stock: Node, image: Tensor) -> None:
    """Run the nodes in turn, because the machine's speed varies. The ratio is the median over neighbouring runs."""
    print("| picture | precision | TinySR Upscale | stock node | ratio |")
    print("|---|---|---|---|---|")
    for side, precision in itertools.product(SIDES, ("fp32", "auto")):
        part = image[:, :side, :side]
        seconds: list[tuple[float, float]] = []
        for i in range(ROUNDS + 1):
            pair = timed(partial(ours, precision=precision), part), timed(stock, part)
            if i:  # the first round warms up
                seconds.append(pair)
        ratio = statistics.median(a / b for a, b in seconds)
        mine, stocks = (f"{statistics.median(column):.2f} s" for column in zip(*seconds, strict=True))
        print(f"| {side} x {side} | {precision} | {mine} | {stocks} | {ratio:.2f} |", flush=True)


def timed(node: Node, image: Tensor) -> float:
    start = time.perf_counter()
    node(image)
    return time.perf_counter() - start


def measure_seams(ours: Node, stock: Node, image: Tensor) -> None:
    """Largest difference between tiled results and the result of a single tile, in levels of 255."""
    whole = ours(image, tile=8192)
    print("\n| tiles | largest difference from the whole picture, of 255 | mean |")
    print("|---|---|---|")
    results = {f"TinySR Upscale, {tile}": ours(image, tile=tile) for tile in (512, 256, 64)}
    results["stock node, 512 with 32 blended"] = stock(image)
    for name, result in results.items():
        difference = 255 * (result - whole).abs()
        print(f"| {name} | {difference.max():.5f} | {difference.mean():.6f} |")


def measure_memory(node: Node) -> None:
    """Peak memory of the process for a batch of frames, next to the memory of its input and output."""
    frames = torch.rand(FRAMES, SIDE, SIDE, 3)
    before = peak_bytes()
    start = time.perf_counter()
    result = node(frames)
    held = frames.nbytes + result.nbytes
    print(
        f"{FRAMES} frames of {SIDE} x {SIDE}: input and output {held / 1e9:.2f} GB, peak of the process "
        f"{peak_bytes() / 1e9:.2f} GB ({before / 1e9:.2f} GB before the run), limit {(1.3 * held + 1e9) / 1e9:.2f} GB, "
        f"{time.perf_counter() - start:.0f} s"
    )


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a ComfyUI checkout")
    parser.add_argument("picture", type=Path, nargs="?", help="a picture")
    parser.add_argument("--busy", action="store_true", help="measure speed while another process keeps one core busy")
    parser.add_argument("--memory", choices=["ours", "stock"], help="measure only the memory of this node")
    arguments = parser.parse_args()
    ours, stock = load_nodes(arguments.checkout.resolve())
    with torch.inference_mode():  # as ComfyUI runs nodes
        if arguments.memory:
            measure_memory(ours if arguments.memory == "ours" else stock)
        elif arguments.picture:
            pixels = np.asarray(Image.open(arguments.picture).convert("RGB"), np.float32) / 255
            image = torch.from_numpy(pixels)[None]
            repeats = [1, *(math.ceil(max(SIDES) / side) for side in image.shape[1:3]), 1]
            with busy_core(arguments.busy):
                measure_speed(ours, stock, image.repeat(repeats))
            if not arguments.busy:
                measure_seams(ours, stock, image)
        else:
            parser.error("give a picture, or --memory")


if __name__ == "__main__":
    main()
