"""Speed on the CPU: TinySR's engines and precisions, other ways to run the network, and the whole command.

    python benchmarks/speed.py > benchmarks/results/speed.md
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 python benchmarks/speed.py --tables sizes
    python benchmarks/avx2.py python benchmarks/speed.py --tables methods commands > benchmarks/results/speed_avx2.md

The last command measures a processor with AVX2 alone. `--busy` keeps one core busy with another process.

It uses the shipped portrait weights x2. There are three tables:

* `methods` and `sizes` measure from array to array, without files, in one process. "Stock node" is what ComfyUI's
  *Upscale Image (using Model)* does: tiles of 512 pixels, blended over an overlap of 32. Compact is a popular network
  of similar size (spandrel's SRVGGNetCompact, 64 features, 6 convolutions, random weights). Methods that are not
  installed are left out.
* `commands` runs `tinysr upscale` and a script with eager PyTorch from file to file, each in its own process. A first
  round calibrates int8 and compiles Python's bytecode.

All methods take turns, and the best time of each counts, because other programs always take some time. A virtual
machine gets new memory from its host slowly. So each run first fills and frees as much memory as its result takes. The
two environment variables make glibc keep freed memory, which matters most for large results.
"""

import argparse
import datetime
import itertools
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from busy import busy_core
from memory import synthetic_photo
from PIL import Image
from torch import Tensor

from tinysr_core.engines import EngineName, Precision, TorchEngine, load_upscaler
from tinysr_core.engines.torch_engine import computes_in_bf16
from tinysr_core.errors import RequestError
from tinysr_core.model import ModelConfig, TinySR, find_checkpoint, read_checkpoint

Run = Callable[[Any], Any]
"""LR array [1,3,h,w] -> SR."""
SCALE = 2
TILE, OVERLAP = 512, 32
STOCK = "stock node, TinySR"
EAGER = "plain PyTorch, eager {}"
SIZES = ((512, 512), (1024, 1024), (3000, 2000), (6000, 4000))
TABLES = ("methods", "commands", "sizes")
ROUNDS = 3
LONG = 10
"""Pictures of this many megapixels or more run only once."""
GIGABYTE = 250_000_000
"""In float32 numbers."""
PRODUCTS = 3
"""Matrix products before each method."""
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
SCRIPT = f"a script, {EAGER}"
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
"""What tells processors apart here, as Linux names it."""
OPTIONS = ("", "--precision fp32", "--engine torch", "--engine torch --precision fp32")
"""Of `tinysr upscale`."""


def methods() -> dict[str, Run]:
    """All methods that are installed here, by name."""
    path = find_checkpoint("portrait", SCALE)
    found: dict[str, Run] = {}
    for engine, precision in itertools.product(get_args(EngineName)[1:], get_args(Precision)[1:]):
        if precision == "bf16" and not computes_in_bf16(torch.device("cpu")):
            continue  # it would be emulated
        try:
            ours = load_upscaler(path, engine=engine, device="cpu", precision=precision, clean=0)
        except RequestError:
            continue
        if engine in type(ours.engine).__name__.lower():  # otherwise it is the fallback for a missing engine
            found[f"TinySR, {engine} {precision}"] = ours.upscale
    for name, layout in LAYOUTS.items():
        found[EAGER.format(name)] = eager(layout)
    found[STOCK] = partial(stock_node, plain_network(torch.contiguous_format))
    compact = _compact()
    if compact is not None:
        found["stock node, Compact"] = partial(stock_node, compact)
    found["Pillow Lanczos, 8 bits"] = _lanczos
    return found


def plain_network(layout: torch.memory_format) -> TinySR:
    """The shipped network in fp32, without an engine."""
    engine = TorchEngine.from_checkpoint(read_checkpoint(find_checkpoint("portrait", SCALE)), "cpu", "fp32")
    return engine.path.model.to(memory_format=layout)


def eager(layout: torch.memory_format) -> Run:
    """The network over the whole picture at once."""
    network = plain_network(layout)
    return lambda image: network(torch.from_numpy(image).contiguous(memory_format=layout))


def run_eager(path: Path, layout: torch.memory_format) -> None:
    """Double a picture, as a script of a few lines would."""
    with Image.open(path) as picture:
        image = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    result = eager(layout)(image).clamp_(0, 1).mul_(255).round_().byte()
    Image.fromarray(result[0].permute(1, 2, 0).numpy()).save(path.with_stem(f"{path.stem}_eager"), quality=95)


def stock_node(network: Callable[[Tensor], Tensor], image: np.ndarray) -> Tensor:
    """What ComfyUI 0.33 does: an image [1,H,W,3] viewed as [1,3,H,W], in tiles blended over `OVERLAP` pixels."""
    stored = torch.from_numpy(image).movedim(1, -1).contiguous()
    samples = stored.movedim(-1, 1)
    height, width = samples.shape[2:]
    if max(height, width) <= TILE:
        return network(samples).movedim(1, -1).clamp(0, 1)
    total = torch.zeros(1, 3, SCALE * height, SCALE * width)
    weight = torch.zeros(1, 1, SCALE * height, SCALE * width)
    starts = [range(0, side - OVERLAP, TILE - OVERLAP) if side > TILE else [0] for side in (height, width)]
    for y, x in itertools.product(*starts):
        result = network(samples[:, :, y : y + TILE, x : x + TILE])
        mask = torch.ones(1, 1, *result.shape[2:])
        feather = SCALE * OVERLAP
        for axis, i in itertools.product((2, 3), range(feather)):
            if feather < mask.shape[axis]:
                mask.narrow(axis, i, 1).mul_((i + 1) / feather)
                mask.narrow(axis, mask.shape[axis] - 1 - i, 1).mul_((i + 1) / feather)
        place = (..., slice(SCALE * y, SCALE * y + mask.shape[2]), slice(SCALE * x, SCALE * x + mask.shape[3]))
        total[place] += result * mask
        weight[place] += mask
    return total.div_(weight).movedim(1, -1).clamp(0, 1)


def _compact() -> Any:
    """spandrel's descriptor of a Compact network with random weights; None without spandrel."""
    try:
        from spandrel import ModelLoader
    except ImportError:
        return None
    shapes = {"body.0.weight": (64, 3, 3, 3), "body.0.bias": (64,), "body.1.weight": (64,)}
    for i in range(2, 14, 2):
        shapes |= {f"body.{i}.weight": (64, 64, 3, 3), f"body.{i}.bias": (64,), f"body.{i + 1}.weight": (64,)}
    shapes |= {"body.14.weight": (3 * SCALE**2, 64, 3, 3), "body.14.bias": (3 * SCALE**2,)}
    return ModelLoader().load_from_state_dict({name: 0.05 * torch.randn(shape) for name, shape in shapes.items()})


def _lanczos(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray((255 * image[0]).astype(np.uint8).transpose(1, 2, 0))
    return picture.resize((SCALE * picture.width, SCALE * picture.height), Image.Resampling.LANCZOS)


@cache
def photo(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


def fill(numbers: int) -> float:
    """Seconds to fill new memory with this many float32 numbers."""
    start = time.perf_counter()
    np.empty(numbers, np.float32).fill(0)
    return time.perf_counter() - start


def seconds(run: Run, image: np.ndarray) -> float:
    fill(SCALE**2 * image.size)
    start = time.perf_counter()
    run(image)
    return time.perf_counter() - start


def matrix_rate() -> float:
    """Operations per second of a float32 product of 2048 x 2048 matrices, the best of several."""
    a, b = torch.rand(2, 2048, 2048)
    times: list[float] = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def operations(config: ModelConfig) -> int:
    """Operations of the network's convolutions for each LR pixel; a multiply-add counts as two."""
    c = config.channels
    return 2 * (147 * c + 9 * config.blocks * c * c + 27 * c * config.scale**2)


def memory(name: str, width: int, height: int) -> float:
    """Peak megabytes of one run, input and result included, beyond the memory in use before it."""
    command = [sys.executable, __file__, "--memory", name, "--sizes", f"{width}x{height}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(run: Run, width: int, height: int) -> float:
    run(photo(64, 64))
    before = peak_bytes()
    run(photo(width, height))
    return (peak_bytes() - before) / 1e6


def peak_bytes() -> int:
    """Peak resident memory of this process. On Linux, getrusage would include the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def print_methods(found: dict[str, Run], width: int, height: int) -> None:
    """The table of all methods at one size."""
    image = photo(width, height)
    best = dict.fromkeys(found, float("inf"))
    rate = 0.0
    for _ in range(ROUNDS):
        for name, run in found.items():
            rate = max(rate, matrix_rate())
            best[name] = min(best[name], seconds(run, image))
    megapixels = width * height / 1e6
    flops = operations(read_checkpoint(find_checkpoint("portrait", SCALE)).config) * width * height
    print(f"\n## {width} x {height}\n")
    print(
        "Speed is relative to the stock node with the same network. The share is the network's arithmetic per second,"
    )
    print(f"relative to a float32 product of 2048 x 2048 matrices, here {rate / 1e9:.0f} GFLOP/s.\n")
    print("| method | seconds | seconds per megapixel | speed, stock node = 1 | share of matmul | memory MB |")
    print("|---|---|---|---|---|---|")
    for name, time_taken in best.items():
        share = f"{flops / time_taken / rate:.0%}" if name.endswith("fp32") or "eager" in name or name == STOCK else ""
        print(
            f"| {name} | {time_taken:.2f} | {time_taken / megapixels:.2f} | {best[STOCK] / time_taken:.2f}× | "
            f"{share} | {memory(name, width, height):.0f} |",
            flush=True,
        )


def commands() -> dict[str, list[str]]:
    """Name -> arguments of Python that double photo.jpg."""
    script = str(Path(__file__).resolve())
    found = {SCRIPT.format(name): [script, "--eager", name, "photo.jpg"] for name in LAYOUTS}
    for options in OPTIONS:
        command = ["upscale", "photo.jpg", *options.split()]
        found[f"`tinysr {' '.join(command)}`"] = ["-m", "tinysr_core.cli", *command, "--overwrite"]
    return found


def print_commands(width: int, height: int) -> None:
    """The table of whole commands, from JPEG to JPEG."""
    best = dict.fromkeys(commands(), float("inf"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        synthetic_photo(width, height).save(Path(folder, "photo.jpg"), quality=92)
        for i in range(ROUNDS + 1):
            for name, arguments in commands().items():
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, *arguments],
                    cwd=folder,
                    env=environment | {"HOME": folder},
                    check=True,
                    stderr=subprocess.DEVNULL,
                )
                if i:  # the first round also reads the programs from the disk
                    best[name] = min(best[name], time.perf_counter() - start)
    print(f"\n## Whole command, {width} x {height}\n")
    print(f"| command | seconds | {' | '.join(f'speed, {EAGER.format(name)} = 1' for name in LAYOUTS)} |")
    print(f"|---|---|{'---|' * len(LAYOUTS)}")
    for name, taken in best.items():
        ratios = (f"{best[SCRIPT.format(layout)] / taken:.2f}×" for layout in LAYOUTS)
        print(f"| {name} | {taken:.2f} | {' | '.join(ratios)} |")


def print_sizes(found: dict[str, Run], sizes: list[tuple[int, int]]) -> None:
    """The table of TinySR's engines from small to large pictures."""
    ours = {name: run for name, run in found.items() if name.startswith("TinySR")}
    print("\n## Seconds per megapixel of the input\n")
    print(f"| engine | {' | '.join(f'{width} x {height}' for width, height in sizes)} | slowest / fastest |")
    print(f"|---|{'---|' * (len(sizes) + 1)}")
    best = {(name, size): float("inf") for name in ours for size in sizes}
    for i in range(ROUNDS):
        for name, size in best:
            megapixels = size[0] * size[1] / 1e6
            if i == 0 or megapixels < LONG:
                best[name, size] = min(best[name, size], seconds(ours[name], photo(*size)) / megapixels)
    for name in ours:
        taken = [best[name, size] for size in sizes]
        cells = " | ".join(f"{value:.2f}" for value in taken)
        print(f"| {name} | {cells} | {max(taken) / min(taken):.2f} |", flush=True)


def machine() -> str:
    """What it was measured on."""
    names = ("torch", "openvino", "spandrel", "pillow")
    versions = [f"{name} {_version(name)}" for name in names if _version(name)]
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    cpu += f" ({', '.join(_instructions())})"
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{today}; {cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}."


def _instructions() -> list[str]:
    """What the processor has of `INSTRUCTIONS`."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return [name for name in INSTRUCTIONS if name in flags]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="what to measure (default: all)")
    parser.add_argument("--sizes", nargs="+", default=[f"{w}x{h}" for w, h in SIZES], help="widths and heights")
    parser.add_argument("--only", default="", help="only methods whose name contains this")
    parser.add_argument("--busy", action="store_true", help="measure while another process keeps one core busy")
    parser.add_argument("--eager", nargs=2, metavar=("LAYOUT", "FILE"), help="double this picture with eager PyTorch")
    parser.add_argument("--memory", metavar="METHOD", help="print the memory of this method in MB, at the given size")
    arguments = parser.parse_args()
    if arguments.eager:
        with torch.inference_mode():
            layout, path = arguments.eager
            run_eager(Path(path), LAYOUTS[layout])
        return
    sizes = [(int(w), int(h)) for w, h in (text.split("x") for text in arguments.sizes)]
    found = methods()
    with torch.inference_mode():  # as ComfyUI runs nodes
        if arguments.memory:
            print(measure_memory(found[arguments.memory], *sizes[0]))
            return
        found = {name: run for name, run in found.items() if arguments.only in name or name == STOCK}
        print(f"# Speed\n\n`python benchmarks/{' '.join([Path(__file__).name, *sys.argv[1:]])}`, {machine()}")
        new, again = fill(GIGABYTE), fill(GIGABYTE)
        print(f"Filling a gigabyte of new memory takes {new:.2f} s; filling it again takes {again:.2f} s.")
        for run in found.values():
            run(photo(256, 256))  # first calls take longer
        width, height = next((size for size in sizes if size[0] * size[1] == 1024**2), sizes[0])
        with busy_core(arguments.busy):
            if "methods" in arguments.tables:
                print_methods(found, width, height)
            if "commands" in arguments.tables:
                print_commands(width, height)
            if "sizes" in arguments.tables:
                print_sizes(found, sizes)


if __name__ == "__main__":
    main()
