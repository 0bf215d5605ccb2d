"""Compare TinySR's nodes with ComfyUI's stock nodes, in one process: speed, seams and memory.

    path/to/ComfyUI's/python benchmarks/comfyui.py path/to/ComfyUI portrait.jpg [--busy] [--sides 512 1536] [--rounds 3]
    path/to/ComfyUI's/python benchmarks/comfyui.py path/to/ComfyUI --memory ours|stock

*TinySR Upscale* is compared with *Upscale Image (using Model)* and the same network; *TinySR Sharpen + AA* with
*Sharpen Image*, *Upscale Image By* (lanczos, 2), *Image Blur*, and *Upscale Image By* (lanczos, 0.5). Prints Markdown.
Results: results/comfyui.md.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from busy import busy_core
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).parents[1]
CHECKPOINT = "tinysr-portrait-x2.safetensors"
FRAMES, SIDE = 100, 512
Node = Callable[..., Tensor]


@dataclass(frozen=True)
class Nodes:
    """Nodes as functions of an IMAGE."""

    upscale: Node
    """TinySR's, of an image, a precision and a tile."""
    stock_upscale: Node
    """With the same network."""
    finish: Node
    stock_finish: Node


def load_nodes(checkout: Path) -> Nodes:
    """The nodes of the ComfyUI in `checkout`."""
    sys.path.insert(0, str(checkout))
    sys.argv = ["main.py"] + ([] if torch.cuda.is_available() else ["--cpu"])
    importlib.import_module("comfy.options").enable_args_parsing()
    comfyui_nodes = importlib.import_module("nodes")
    stock_class = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    filters = importlib.import_module("comfy_extras.nodes_post_processing")
    assert asyncio.run(comfyui_nodes.load_custom_node(str(ROOT))), "the pack did not load"
    classes = comfyui_nodes.NODE_CLASS_MAPPINGS
    (model,) = classes["TinySRLoader"]().load(CHECKPOINT, clean="0")
    upscale = classes["TinySRUpscale"]().upscale
    widgets = {"factor": 2.0, "width": 0, "height": 0, "megapixels": 4.0, "device": "auto"}
    finish = classes["TinySRSharpenAA"]().finish
    settings = {"radius": 1.2, "percent": 100, "threshold": 1, "blur": 0.5, "amount": 1.0, "device": "auto"}
    scale_by = comfyui_nodes.ImageScaleBy().upscale

    def ours(image: Tensor, precision: str = "fp32", tile: int = 0) -> Tensor:
        return upscale(model, image, size="network scale", precision=precision, tile=tile, **widgets)[0]

    def stock_finish(image: Tensor) -> Tensor:
        sharp = filters.Sharpen.execute(image, 1, 1.0, 1.0)[0]
        large = filters.Blur.execute(scale_by(sharp, "lanczos", 2)[0], 1, 0.5)[0]
        return scale_by(large, "lanczos", 0.5)[0]

    return Nodes(
        upscale=ours,
        stock_upscale=lambda image: stock_class.execute(model, image)[0],
        finish=lambda image: finish(image, sharpen=True, anti_alias=True, **settings)[0],
        stock_finish=stock_finish,
    )


def measure_speed(nodes: Nodes, image: Tensor, sides: Sequence[int], rounds: int) -> None:
    """Run the nodes in turn, because the machine's speed varies. The ratio is the median over neighbouring runs."""
    work = {
        "Upscale, fp32": (nodes.upscale, nodes.stock_upscale),
        "Upscale, auto": (partial(nodes.upscale, precision="auto"), nodes.stock_upscale),
        "Sharpen + AA": (nodes.finish, nodes.stock_finish),
    }
    print("| work | picture | TinySR | stock nodes | ratio |")
    print("|---|---|---|---|---|")
    for side, (name, (ours, stock)) in itertools.product(sides, work.items()):
        part = image[:, :side, :side]
        seconds = [(timed(ours, part), timed(stock, part)) for _ in range(rounds + 1)][1:]  # the first warms up
        ratio = statistics.median(a / b for a, b in seconds)
        mine, stocks = (f"{statistics.median(column):.3f} s" for column in zip(*seconds, strict=True))
        print(f"| {name} | {side} x {side} | {mine} | {stocks} | {ratio:.2f} |", flush=True)


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
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1536], help="of the pictures, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", choices=["ours", "stock"], help="measure only the memory of this node")
    arguments = parser.parse_args()
    nodes = load_nodes(arguments.checkout.resolve())
    with torch.inference_mode():  # as ComfyUI runs nodes
        if arguments.memory:
            measure_memory(nodes.upscale if arguments.memory == "ours" else nodes.stock_upscale)
        elif arguments.picture:
            pixels = np.asarray(Image.open(arguments.picture).convert("RGB"), np.float32) / 255
            image = torch.from_numpy(pixels)[None]
            repeats = [1, *(math.ceil(max(arguments.sides) / side) for side in image.shape[1:3]), 1]
            with busy_core(arguments.busy):
                measure_speed(nodes, image.repeat(repeats), arguments.sides, arguments.rounds)
            if not arguments.busy:
                measure_seams(nodes.upscale, nodes.stock_upscale, image)
        else:
            parser.error("give a picture, or --memory")


if __name__ == "__main__":
    main()
