"""Measure the shipped weights on the validation pictures. This is a part of model_cards.py; run that script.

If weights have not changed, their rows are taken from the last results. So a stopped measurement can be resumed, and a
new checkpoint is measured alone.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from tinysr_core.engines import Precision, RunOptions
from tinysr_core.evaluation import Measurement, Method, evaluate, interpolation, network, to_8_bits, to_float
from tinysr_core.loss import Lpips
from tinysr_core.model import load_checkpoint, weights_digest
from tinysr_core.util import atomic_write

SCALES = (2, 3, 4, 8)
SETS = ("set5", "set14", "portraits_cc0", "portraits_london")
SLIDER = (0.25, 0.5, 0.75)
PART_SETS = ("set5", "portraits_cc0")
"""Sets on which the slider and int8 are measured."""
STANDARD_SETS, STANDARD_SCALES = ("set5", "set14"), (2, 3, 4)
"""These sets have pictures of these scales only. Interpolation, the finish and other networks are compared at them."""
CHAIN = "tinysr-portrait-x4, then tinysr-fidelity-x2"
"""What TinySR does at ×8 without a network for it."""
FINISH = "+sharpen+aa"
COLUMNS = ("data", "picture", "scale", "method", "psnr", "ssim", "lpips", "weights")
"""Of results/quality.csv."""


@dataclass(frozen=True)
class Measured(Measurement):
    """A row, with the first digits of the hash of the measured weights (empty for plain interpolation)."""

    weights: str = ""


@dataclass(frozen=True)
class Subject:
    """Something to measure."""

    name: str
    weights: str
    sets: Sequence[str]
    load: Callable[[], Method]


def measure(folder: Path, validation: Path, lpips: Lpips, results: Path) -> list[Measured]:
    """All rows of the checkpoints in `folder`, written to `results` one by one, and rounded as they are there."""
    known = read(results)
    rows: list[Measured] = []
    for scale in SCALES:
        for data in SETS:
            missing: dict[str, Subject] = {}
            for subject in subjects(folder, scale):
                found = [row for row in known if _key(row) == (data, scale, subject.name, subject.weights)]
                rows += found
                if not found and data in subject.sets:
                    missing[subject.name] = subject
            if not missing:
                continue
            methods = {name: subject.load() for name, subject in missing.items()}
            for row in evaluate([validation / data], scale, methods, lpips):
                rows.append(Measured(**asdict(row), weights=missing[row.method].weights))
            print(f"x{scale} {data}: {', '.join(missing)}", file=sys.stderr)
            write(dict.fromkeys([*rows, *known]), results)
    write(rows, results)
    return read(results)


def subjects(folder: Path, scale: int) -> list[Subject]:
    """Interpolation, and each checkpoint: alone, finished, in int8, and blended with its twin if it has one. Beyond the
    standard scales: bicubic, a chain of two networks, and each checkpoint alone."""
    standard, sets = scale in STANDARD_SCALES, sets_at(scale)
    found = [
        Subject(kernel, "", sets, lambda kernel=kernel: interpolation(kernel, scale))
        for kernel in (("bicubic", "lanczos") if standard else ("bicubic",))
    ]
    first = folder / "tinysr-portrait-x4.safetensors"
    if not standard and first.is_file():
        digest = weights_digest(load_checkpoint(first).tensors)[:12]
        found.append(Subject(CHAIN, digest, sets, lambda: chain(first)))
    for path in sorted(folder.glob(f"*-x{scale}.safetensors")):
        checkpoint = load_checkpoint(path)
        digest = weights_digest(checkpoint.tensors)[:12]
        found.append(Subject(path.stem, digest, sets, _loader(str(path), scale)))
        if not standard:
            continue
        found.append(Subject(path.stem + FINISH, digest, sets, _loader(f"{path}{FINISH}", scale)))
        if find_spec("openvino"):
            name = f"{path.stem} (int8)"
            found.append(Subject(name, digest, PART_SETS, _loader(str(path), scale, precision="int8")))
        for detail in SLIDER if "twin" in checkpoint.card else ():
            name = f"{path.stem} (detail {detail:g})"
            digest = weights_digest(load_checkpoint(path, detail).tensors)[:12]
            found.append(Subject(name, digest, PART_SETS, _loader(str(path), scale, detail)))
    return found


def sets_at(scale: int) -> Sequence[str]:
    """The sets that have pictures of this scale."""
    return [name for name in SETS if name not in STANDARD_SETS or scale in STANDARD_SCALES]


def chain(first: Path) -> Method:
    """×8 by the checkpoint `first` for ×4, then its follower."""
    upscaler = RunOptions(clean=0, precision="fp32").load(first)
    return lambda lr: to_8_bits(upscaler.enlarge(to_float(lr), 8))


def _loader(model: str, scale: int, detail: float = 1.0, precision: Precision = "fp32") -> Callable[[], Method]:
    return lambda: network(model, scale, RunOptions(detail, 0, precision=precision))[1]


def read(results: Path) -> list[Measured]:
    """The rows in `results`; none if there is no such file."""
    if not results.is_file():
        return []
    with results.open(encoding="utf-8") as stream:
        return [
            Measured(
                row["data"],
                row["picture"],
                int(row["scale"]),
                row["method"],
                float(row["psnr"]),
                float(row["ssim"]),
                float(row["lpips"]),
                weights=row["weights"],
            )
            for row in csv.DictReader(stream)
        ]


def write(rows: Iterable[Measured], results: Path) -> None:
    """Write `rows` to `results`, completely or not at all."""
    with atomic_write(results) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lpips = "" if row.lpips is None else round(row.lpips, 5)
            cells = asdict(row) | {"psnr": round(row.psnr, 3), "ssim": round(row.ssim, 5), "lpips": lpips}
            writer.writerow({name: cells[name] for name in COLUMNS})


def _key(row: Measured) -> tuple[str, int, str, str]:
    return row.data, row.scale, row.method, row.weights
