"""Quality that each precision of each engine loses against PyTorch in fp32 on the CPU, for every shipped network.

    python benchmarks/precision.py ../shared/data/val/portraits_cc0 --lpips ../shared/weights

Results: results/precision.md.
"""

import argparse
from pathlib import Path
from statistics import fmean

import torch

from tinysr_core.engines import EngineName, Precision, RunOptions
from tinysr_core.evaluation import Measurement, evaluate, network
from tinysr_core.loss import load_lpips
from tinysr_core.model import read_info, shipped_folder

COMPARED: tuple[tuple[EngineName, str, Precision], ...] = (
    ("torch", "cpu", "fp32"),
    ("torch", "cpu", "bf16"),
    ("openvino", "cpu", "int8"),
)
ON_GPU: tuple[tuple[EngineName, str, Precision], ...] = (
    ("torch", "cuda", "fp32"),
    ("torch", "cuda", "fp16"),
    ("torch", "cuda", "bf16"),
)


def line(model: str, method: str, rows: list[Measurement], reference: list[Measurement]) -> str:
    """A line of the table: mean differences over the pictures, and those of the worst picture."""
    psnr = [row.psnr - other.psnr for row, other in zip(rows, reference, strict=True)]
    cells = [model, method, f"{fmean(psnr):+.3f}", f"{min(psnr):+.3f}"]
    known = [(row.lpips, other.lpips) for row, other in zip(rows, reference, strict=True) if row.lpips and other.lpips]
    if known:
        mine, others = (fmean(values) for values in zip(*known, strict=True))
        cells += [f"{100 * (mine / others - 1):+.2f}", f"{100 * max(a / b - 1 for a, b in known):+.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lpips", type=Path)
    arguments = parser.parse_args()
    lpips = load_lpips("alex", arguments.lpips) if arguments.lpips else None
    compared = COMPARED + (ON_GPU if torch.cuda.is_available() else ())
    print("| network | engine, device, precision | PSNR-Y dB | worst picture | LPIPS % | worst picture |")
    print("|---|---|---|---|---|---|")
    for path in sorted(shipped_folder().glob("*.safetensors")):
        scale = read_info(path).config.scale
        methods = {
            f"{engine} {device} {precision}": network(
                str(path), scale, RunOptions(clean=0, engine=engine, device=device, precision=precision)
            )[1]
            for engine, device, precision in compared
        }
        rows = list(evaluate([arguments.data], scale, methods, lpips))
        of = {method: [row for row in rows if row.method == method] for method in methods}
        reference, *others = methods
        for method in others:
            print(line(path.stem, method, of[method], of[reference]), flush=True)


if __name__ == "__main__":
    main()
