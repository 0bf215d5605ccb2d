"""Speed of the network on a GPU: the gain from each step of the GPU path, and the distance from the GPU's limit.

    python benchmarks/gpu.py > benchmarks/results/gpu.md
    python benchmarks/gpu.py --autotune                     # let cuDNN time its kernels first
    python benchmarks/gpu.py --device cpu --size 64x64      # test every method that a CPU can run

It uses the shipped portrait weights x2, one picture at a time. Pictures and results stay on the device, except in the
last row. The roofline is the longer of two times: that of the arithmetic at the rate of a product of fp16 matrices, and
that of moving each layer's features at the rate of a copy. Both rates are measured here. If a method cannot run, the
table says why. PSNR is relative to fp32 without TF32.
"""

import argparse
import datetime
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from memory import synthetic_photo
from speed import operations
from torch import Tensor

from tinysr_core.engines import TorchEngine, Upscaler
from tinysr_core.engines.torch_cuda import CudnnNetwork, padded
from tinysr_core.model import ModelConfig, TinySR, bicubic_skip, find_checkpoint, read_checkpoint
from tinysr_core.model import network as network

Run = Callable[[Tensor], Tensor]
"""LR picture [1,3,h,w] on the device -> SR."""
BASELINE = "eager fp16, NCHW"
SHIPPED = "TinySR"
WARM_UP, ROUNDS = 3, 3
WHOLE = 1 << 20
"""A tile larger than any picture."""


def methods(device: torch.device) -> Iterator[tuple[str, Callable[[Tensor], Run]]]:
    """Name of each method, and a function that prepares it for pictures of the size of the given one."""
    checkpoint = read_checkpoint(find_checkpoint("portrait", 2))
    plain = TinySR.from_tensors(
        checkpoint.config, {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors.items()}
    )
    wide = padded(plain)
    half, brain = torch.float16, torch.bfloat16
    last = torch.channels_last
    yield BASELINE, lambda _: placed(plain, device, half, torch.contiguous_format)
    yield "fp16, channels last", lambda _: placed(plain, device, half, last)
    yield "bf16, channels last", lambda _: placed(plain, device, brain, last)
    yield "fp16, 56 channels", lambda _: placed(wide, device, half, last)
    yield "fp16, fused", lambda _: fused(placed(plain, device, half, last))
    yield "fp16, 56 channels, fused", lambda _: fused(placed(wide, device, half, last))
    yield "bf16, 56 channels, fused", lambda _: fused(placed(wide, device, brain, last))
    yield (
        "fp16, 56 channels, fused, CUDA graph",
        lambda image: graphed(fused(placed(wide, device, half, last)), image),
    )
    for mode in ("default", "max-autotune"):
        yield f"fp16, 56 channels, torch.compile {mode}", partial(compiled, placed(wide, device, half, last), mode)
    for precision in ("fp32", "fp16", "bf16"):
        if precision != "fp16" or device.type != "cpu":
            shipped = partial(TorchEngine.from_checkpoint, checkpoint, str(device), precision)
            yield f"{SHIPPED}, {precision}", lambda _, shipped=shipped: Upscaler(shipped()).upscale
            yield (
                f"{SHIPPED}, {precision}, one tile",
                lambda _, shipped=shipped: Upscaler(shipped(), WHOLE).upscale,
            )
    yield f"{SHIPPED}, from host to host", partial(from_host, Upscaler(TorchEngine(plain, str(device))))


def placed(model: TinySR, device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> TinySR:
    tensors = {name: tensor.to(device, dtype) for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if name.startswith("attention."):
            tensors[name] = tensor.float()
        elif tensor.ndim == 4:
            tensors[name] = tensor.contiguous(memory_format=layout)
    return TinySR.from_tensors(model.config, tensors)


def fused(model: TinySR) -> Run:
    return partial(CudnnNetwork(model, fused=True), gate=None)


def compiled(model: TinySR, mode: str, image: Tensor) -> Run:
    kernel = network._skip_kernel(2, torch.float32, image.device)
    make = network._skip_kernel
    network._skip_kernel = lambda *_: kernel  # else torch compiles its NumPy code and runs it in each call
    try:
        run = torch.compile(model, mode=mode, dynamic=False)
        run(image)  # compiles
    finally:
        network._skip_kernel = make
    return run


def graphed(run: Run, image: Tensor) -> Run:
    """`run`, recorded once as a CUDA graph and replayed, so that its kernels start without Python."""
    source = image.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run(source)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run(source)

    def replay(picture: Tensor) -> Tensor:
        source.copy_(picture)
        graph.replay()
        return result

    return replay


def from_host(upscaler: Upscaler, image: Tensor) -> Run:
    on_host = image.cpu()
    return lambda _: upscaler.upscale(on_host)


def milliseconds(work: Callable[[], object], device: torch.device, least: float = 300) -> float:
    """Time of one call: the best of several rounds. A round makes consecutive calls for about `least` milliseconds."""
    for _ in range(WARM_UP):
        work()
    count = max(1, round(least / _timed(work, 1, device)))
    return min(_timed(work, count, device) for _ in range(ROUNDS)) / count


def _timed(work: Callable[[], object], count: int, device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        for _ in range(count):
            work()
        return 1000 * (time.perf_counter() - start)
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(count):
        work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def matrix_rate(device: torch.device) -> float:
    """Operations per second of a product of fp16 matrices."""
    side = 8192 if device.type == "cuda" else 256
    a, b = torch.rand(2, side, side, device=device).half()
    return 2 * side**3 / milliseconds(lambda: a @ b, device) * 1000


def bandwidth(device: torch.device) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.empty(1 << (30 if device.type == "cuda" else 22), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / milliseconds(lambda: target.copy_(source), device) * 1000


def moved(config: ModelConfig) -> int:
    """Bytes of memory traffic for each LR pixel, if each layer reads and writes its fp16 features once."""
    features, detail = 2 * config.channels, 2 * 3 * config.scale**2
    image, result = 4 * 3, 4 * 3 * config.scale**2
    trunk = (image + features) + config.blocks * 2 * features
    return trunk + 3 * features + (features + detail) + (image + detail + result)


def psnr(result: Tensor, expected: Tensor) -> float:
    error = (result.to(expected).clamp(0, 1) - expected).square().mean().item()
    return float("inf") if error == 0 else -10 * np.log10(error)


def references(image: Tensor) -> tuple[Tensor, Tensor]:
    """Results in fp32, without TF32: with the gate from the whole picture (the network), and with the gate from probe
    windows (`Upscaler`)."""
    torch.backends.cudnn.allow_tf32 = False
    try:
        engine = TorchEngine.from_checkpoint(read_checkpoint(find_checkpoint("portrait", 2)), str(image.device), "fp32")
        return engine.path.model(image).clamp(0, 1), Upscaler(engine).upscale(image)
    finally:
        torch.backends.cudnn.allow_tf32 = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="1920x1080", help="width and height of the LR picture")
    parser.add_argument("--only", default="", help="only methods whose name contains this, and the baseline")
    parser.add_argument("--autotune", action="store_true", help="let cuDNN time its kernels before it chooses")
    parser.add_argument("--profile", metavar="METHOD", help="print the kernels of this method instead")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    width, height = (int(side) for side in arguments.size.split("x"))
    pixels = np.asarray(synthetic_photo(width, height), np.float32).transpose(2, 0, 1)[None] / 255
    image = torch.from_numpy(pixels).contiguous().to(device)
    torch.backends.cudnn.benchmark = arguments.autotune
    with torch.inference_mode():  # as ComfyUI runs nodes
        if arguments.profile:
            print_profile(dict(methods(device))[arguments.profile](image), image)
        else:
            print_table(arguments.only, image)


def print_table(only: str, image: Tensor) -> None:
    device = image.device
    height, width = image.shape[2:]
    config = read_checkpoint(find_checkpoint("portrait", 2)).config
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    today = datetime.datetime.now(datetime.timezone.utc).date()
    rate, speed = matrix_rate(device), bandwidth(device)
    floor = 1000 * width * height * max(operations(config) / rate, moved(config) / speed)
    whole, tiled = references(image)
    skip = psnr(bicubic_skip(image, 2), bicubic_skip(image.double(), 2).clamp(0, 1))
    print(f"# GPU\n\n{width} x {height}, x2, {today}; {name}, torch {torch.__version__}. fp16 matrix product: ", end="")
    print(f"{rate / 1e12:.3g} TFLOP/s, copy: {speed / 1e9:.3g} GB/s, roofline: {floor:.3g} ms a picture. ", end="")
    print(f"PSNR of the bicubic skip in fp32 to that in fp64: {skip:.0f} dB.\n")
    print(f"| method | ms | pictures/s | speed, {BASELINE} = 1 | share of the roofline | PSNR dB |")
    print("|---|---|---|---|---|---|")
    baseline = None
    for method, make in methods(device):
        if only not in method and method != BASELINE:
            continue
        try:
            run = make(image)
            quality = psnr(run(image), tiled if method.startswith(SHIPPED) else whole)
            taken = milliseconds(partial(run, image), device)
        except Exception as error:  # other methods may still run
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"| {method} | {reason[:100]} | | | | |", flush=True)
            continue
        baseline = baseline or taken
        print(
            f"| {method} | {taken:.3g} | {1000 / taken:.0f} | {baseline / taken:.2f}× | "
            f"{floor / taken:.0%} | {quality:.1f} |",
            flush=True,
        )


def print_profile(run: Run, image: Tensor) -> None:
    """Print the time of three calls by kernel."""
    for _ in range(WARM_UP):
        run(image)
    with torch.profiler.profile() as profile:
        for _ in range(3):
            run(image)
        if image.is_cuda:
            torch.cuda.synchronize()
    order = "self_cuda_time_total" if image.is_cuda else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=order, row_limit=30, max_name_column_width=80))


if __name__ == "__main__":
    main()
