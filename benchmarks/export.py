"""Quality, size and speed of exported files: ONNX in fp32, fp16 and int8, and ncnn.

    python benchmarks/export.py ../shared/data/val --lpips ../shared/weights
    OMP_NUM_THREADS=1 python benchmarks/export.py ../shared/data/val --speed

The first command runs the files of every shipped network on Set5 and on the centres of portraits_cc0, with onnxruntime
and ncnn on the CPU. It writes results/export.csv after each network, so that it can be stopped and started again, and
does not measure unchanged weights twice. It then writes the table of results/export.md.

The second command prints a table of CPU times of one thread, which hardly depend on other programs. All files take
turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import ncnn
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rows import read_rows, write_rows

from tinysr_core.engines import OnnxPrecision, Upscaler, export_ncnn, export_onnx, load_engine
from tinysr_core.evaluation import lpips_distance, psnr_y, to_8_bits, to_float
from tinysr_core.evaluation.table import Pair, load_pairs
from tinysr_core.images import Pixels8
from tinysr_core.loss import Lpips, load_lpips
from tinysr_core.model import Checkpoint, find_checkpoint, read_checkpoint, shipped_folder, weights_digest

RESULTS = Path(__file__).parent / "results"
CSV, PAGE = RESULTS / "export.csv", RESULTS / "export.md"
TABLES_START = "<!-- tables by benchmarks/export.py -->\n"
SETS = {"set5": (2, 3, 4), "portraits_cc0": (2, 3, 4, 8)}
"""The scales of each data set."""
CENTRE = 600
"""Side of the original's centre that is used. The small pictures are cropped before they are enlarged."""
PRECISIONS: tuple[OnnxPrecision, ...] = ("fp32", "fp16", "int8")
SIDE, ROUNDS = 300, 9
"""Side of the picture and number of rounds for the times."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Picture [1,3,h,w] -> result [1,3,s*h,s*w]."""


@dataclass(frozen=True)
class Row:
    """The scores of one file on one picture."""

    network: str
    weights: str
    file: str
    data: str
    picture: str
    psnr: float
    lpips: float


@dataclass(frozen=True)
class File:
    """An exported file."""

    run: Run
    size: int
    """Bytes; of both files for ncnn."""
    closeness: float
    """PSNR in dB to PyTorch's result; for ncnn, with the same gate."""


def exported(checkpoint: Checkpoint, folder: Path) -> Iterator[tuple[str, File]]:
    """Each kind of file of a network."""
    for precision in PRECISIONS:
        path = folder / f"{precision}.onnx"
        closeness = export_onnx(checkpoint, path, precision) or 0
        yield f"ONNX {precision}", File(onnx_run(path), path.stat().st_size, closeness)
    path = folder / f"x{checkpoint.config.scale}.param"
    closeness = export_ncnn(checkpoint, path) or 0
    size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
    yield "ncnn", File(ncnn_run(path), size, closeness)


def onnx_run(path: Path) -> Run:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {"image": picture})[0]


def ncnn_run(path: Path) -> Run:
    """With ncnn's own options, which may use bf16. As Upscayl does, the picture gets a mirrored border of 10 pixels."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def run(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        bordered = np.pad(picture[0], ((0, 0), (10, 10), (10, 10)), mode="reflect")
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(bordered))
        result = np.array(extractor.extract("output")[1])
        border = 10 * (result.shape[1] // bordered.shape[1])
        return result[None, :, border:-border, border:-border]

    return run


def measure(validation: Path, backbones: Path) -> None:
    """Measure the files that are not in the results yet, or whose weights have changed."""
    rows = read_rows(CSV, Row)
    lpips = load_lpips("alex", backbones)
    paths = sorted(shipped_folder().glob("*.safetensors"), key=lambda path: ("portrait-x" not in path.stem, path.stem))
    current = {path.stem: weights_digest(read_checkpoint(path).tensors)[:12] for path in paths}
    rows = [row for row in rows if current.get(row.network) == row.weights]
    for path in paths:
        checkpoint = read_checkpoint(path)
        known = {row.file for row in rows if row.network == path.stem}
        with tempfile.TemporaryDirectory() as folder:
            files = {kind: file for kind, file in exported(checkpoint, Path(folder)) if kind not in known}
            rows += list(scores(checkpoint, files, validation, lpips))
        for kind, file in files.items():
            print(f"{path.stem} {kind}: {file.size} bytes, {file.closeness:.1f} dB to PyTorch", flush=True)
        write_rows(rows, CSV)
    write_tables(rows)


def scores(checkpoint: Checkpoint, files: Mapping[str, File], validation: Path, lpips: Lpips) -> Iterator[Row]:
    """The scores of the files of a network on all pictures."""
    scale, digest = checkpoint.config.scale, weights_digest(checkpoint.tensors)[:12]
    for data in (data for data, scales in SETS.items() if scale in scales):
        for pair in load_pairs(validation / data, scale):
            lr, hr = centre(pair, scale)
            for kind, file in files.items():
                sr = to_8_bits(file.run(to_float(lr)))
                values = round(psnr_y(sr, hr, scale), 3), round(lpips_distance(lpips, sr, hr), 5)
                yield Row(checkpoint.path.stem, digest, kind, data, pair.name, *values)


def centre(pair: Pair, scale: int) -> tuple[Pixels8, Pixels8]:
    """The centres of the small picture and of the original, at most `CENTRE` pixels wide and high in the original."""
    side = CENTRE // scale
    top, left = (max(0, (length - side) // 2) for length in pair.lr.shape[:2])
    rows, columns = slice(top, top + side), slice(left, left + side)
    whole = slice(scale * top, scale * (top + side)), slice(scale * left, scale * (left + side))
    return pair.lr[rows, columns], pair.hr[whole]


def write_tables(rows: list[Row]) -> None:
    """Replace the tables of the page: everything after the mark."""
    lines = ["", f"| network | file | {' | '.join(f'{data} PSNR-Y, LPIPS' for data in SETS)} |", "|---|---|---|---|"]
    for network in sorted({row.network for row in rows}):
        for file in dict.fromkeys(row.file for row in rows):
            cells = [
                cell([row for row in rows if (row.network, row.file, row.data) == (network, file, data)])
                for data in SETS
            ]
            lines.append(f"| {network} | {file} | {' | '.join(cells)} |")
    text = PAGE.read_text(encoding="utf-8").split(TABLES_START)[0] if PAGE.is_file() else ""
    PAGE.write_text(text + TABLES_START + "\n".join(lines) + "\n", encoding="utf-8")


def cell(rows: list[Row]) -> str:
    if not rows:
        return "-"
    return f"{fmean(row.psnr for row in rows):.2f} / {fmean(row.lpips for row in rows):.4f}"


def speed(photo: Path) -> None:
    """Print the best CPU times of one thread, and their ratio to our int8 engine in the median round. Every method
    includes the border that it mirrors."""
    from PIL import Image

    checkpoint = read_checkpoint(find_checkpoint("portrait", 2))
    with Image.open(photo) as opened:
        picture = to_float(np.asarray(opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {
            f"TinySR {precision}": Upscaler(load_engine(checkpoint, "openvino", "cpu", precision)).upscale
            for precision in ("int8", "fp32")
        }
        runs |= {kind: file.run for kind, file in exported(checkpoint, Path(folder))}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):
            for name, run in runs.items():
                start = time.process_time()
                run(picture)
                times[name].append(time.process_time() - start)
    ours = next(iter(runs))
    print(f"| {SIDE} x {SIDE}, x2 | CPU time | relative to {ours}, median of {ROUNDS} rounds |")
    print("|---|---|---|")
    for name in runs:
        ratio = median(mine / other for mine, other in zip(times[name][1:], times[ours][1:], strict=True))
        print(f"| {name} | {min(times[name][1:]):.3f} s | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--lpips", type=Path)
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    if arguments.speed:
        speed(min((arguments.validation / "portraits_cc0").iterdir()))
    else:
        measure(arguments.validation, arguments.lpips)


if __name__ == "__main__":
    main()
