"""Measure methods on everyday photographs: saved as JPEG, taken with a phone, shared on the web.

    python benchmarks/photos.py ../shared/data/val/portraits_cc0 --lpips ../shared/weights

The centre of each portrait (600 x 600 pixels) is reduced by antialiased bicubic to 8 bits and then degraded, the same
way in every run. If weights have not changed, their rows are taken from the last results.
"""

import argparse
import csv
import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rows import read_rows, write_rows

from tinysr_core.engines import RunOptions
from tinysr_core.evaluation import (
    Method,
    interpolation,
    lpips_distance,
    network,
    psnr_y,
    to_8_bits,
    to_float,
)
from tinysr_core.evaluation.metrics import luma
from tinysr_core.evaluation.table import Pair, load_pairs
from tinysr_core.images import Pixels8, choose_clean
from tinysr_core.loss import Lpips, load_lpips
from tinysr_core.loss.terms import rgb_to_lab
from tinysr_core.model import find_exactly, load_checkpoint, weights_digest
from tinysr_core.postprocess import resize
from tinysr_core.util import atomic_write

RESULTS = Path(__file__).parent / "results"
SCALES = (2, 3, 4)
SIDE = 600
SLIDER = (0.25, 0.5, 0.75)
SLIDER_SETS = ("clean", "q75", "phone")
COLOUR_BLOCK = 24
"""Side of the blocks whose mean colours are compared. The mean removes noise and keeps colour shifts."""

PROTOCOL = """\
`python benchmarks/photos.py ../shared/data/val/portraits_cc0 --lpips ../shared/weights`. The pictures are the centres
(600 x 600 pixels) of ten portraits that no network was trained on. They are reduced by antialiased bicubic to 8 bits,
then degraded:

| set | degradation |
|---|---|
| `clean` | none |
| `q90` to `q30` | saved as JPEG of this quality, with halved colour resolution |
| `phone` | blur of 0.6 pixels, noise of 3 levels, JPEG 75 |
| `web` | JPEG 80 at 1.25 times the size, reduced, saved as WebP 75 |

Cells are PSNR of Y in dB / LPIPS (AlexNet). `auto` is `portrait` with `--clean auto`, which reads the quality from a
JPEG file. `auto, pixels alone` does not have the file. [photos.csv](photos.csv) has every picture.
"""
MEASURES = f"""\
Texture / colour. Texture is the energy of Y above half the Nyquist frequency of the small picture, relative to the
original (below 1: smoother, above 1: grainier). Colour is the mean CIE76 distance between mean colours of blocks of
{COLOUR_BLOCK} pixels.
"""
COMPARED = ("clean", "q75", "phone", "q50")
"""Sets on which other networks were measured."""
QUOTED = """\
Quoted from [photos_peers.csv](photos_peers.csv), not measured by this script: the same protocol on eight other, easier
portraits. So compare the differences from bicubic and from `portrait`, not the figures themselves.
"""


@dataclass(frozen=True)
class Row:
    """Result of one method on one picture of one set."""

    data: str
    picture: str
    scale: int
    method: str
    weights: str
    """First digits of the hash of the weights; empty for interpolation."""
    psnr: float
    """PSNR of Y in dB."""
    lpips: float
    energy: float
    """Energy of Y above half the Nyquist frequency of the small picture, relative to the original."""
    colour: float
    """Mean CIE76 distance between mean colours of blocks."""


def jpeg(pixels: Pixels8, quality: int) -> Pixels8:
    """Save as JPEG with halved colour resolution, and read again."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(stream))


def phone(pixels: Pixels8, rng: np.random.Generator) -> Pixels8:
    """Add slight blur, noise of three levels and JPEG 75."""
    soft = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.6)), np.float64)
    return jpeg(np.rint(soft + rng.normal(0, 3, soft.shape)).clip(0, 255).astype(np.uint8), 75)


def web(hr: Pixels8, height: int, width: int) -> Pixels8:
    """A JPEG 80 at 1.25 times the size, which a website reduces and saves as WebP 75."""
    larger = to_8_bits(resize(to_float(hr), round(height * 1.25), round(width * 1.25)))
    small = Image.fromarray(jpeg(larger, 80)).resize((width, height), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=75)
    return np.asarray(Image.open(stream).convert("RGB"))


def degraded(pair: Pair, index: int) -> dict[str, tuple[Pixels8, int | None]]:
    """Name of the set -> the small picture of `pair` in that set, and the quality of its JPEG file."""
    lr = pair.lr
    return {
        "clean": (lr, None),
        **{f"q{quality}": (jpeg(lr, quality), quality) for quality in (90, 75, 50, 30)},
        "phone": (phone(lr, np.random.default_rng(index)), 75),
        "web": (web(pair.hr, *lr.shape[:2]), None),
    }


def centres(folder: Path, scale: int) -> Iterator[Pair]:
    """The centre of each picture, and its bicubic reduction."""
    for pair in load_pairs(folder, 1):
        height, width, _ = pair.hr.shape
        side = min(SIDE, height // 12 * 12, width // 12 * 12)
        top, left = (height - side) // 2, (width - side) // 2
        hr = np.ascontiguousarray(pair.hr[top : top + side, left : left + side])
        yield Pair(pair.name, to_8_bits(resize(to_float(hr), side // scale, side // scale)), hr)


def energy(picture: Pixels8, scale: int) -> float:
    """Energy of Y at frequencies above half the Nyquist frequency of a picture `scale` times smaller."""
    plane = luma(picture)
    window = np.hanning(plane.shape[0])[:, None] * np.hanning(plane.shape[1])[None]
    spectrum = np.abs(np.fft.rfft2((plane - plane.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None]
    return float(spectrum[np.hypot(rows, columns) > 0.25 / scale].sum())


def colour_shift(result: Pixels8, original: Pixels8) -> float:
    """Mean CIE76 distance between mean colours of blocks."""
    means: list[NDArray[np.float32]] = []
    for picture in (result, original):
        rows, columns = (length // COLOUR_BLOCK for length in picture.shape[:2])
        inner = to_float(picture[: rows * COLOUR_BLOCK, : columns * COLOUR_BLOCK])
        means.append(inner.reshape(1, 3, rows, COLOUR_BLOCK, columns, COLOUR_BLOCK).mean((3, 5)))
    a, b = (rgb_to_lab(torch.from_numpy(mean)) for mean in means)
    return float((a - b).norm(dim=1).mean())


class Bench:
    """Measures the methods of one scale, and each row only once."""

    def __init__(self, scale: int, lpips: Lpips, known: Sequence[Row]) -> None:
        self.scale, self.lpips = scale, lpips
        self.found = {(row.data, row.picture, row.method, row.weights): row for row in known if row.scale == scale}
        self.methods: dict[str, tuple[str, Callable[[], Method]]] = {
            kernel: ("", lambda kernel=kernel: interpolation(kernel, scale)) for kernel in ("bicubic", "lanczos")
        }
        self.loaded: dict[str, Method] = {}

    def add(self, name: str, model: str, clean: float = 0.0) -> None:
        """Add the network `model`, blended with its photo network by `clean`."""
        path = find_exactly(model, self.scale)
        digest = weights_digest(load_checkpoint(path, clean=clean).tensors)[:12]
        load = partial(network, str(path), self.scale, RunOptions(clean=clean, precision="fp32"))
        self.methods[name] = digest, lambda: load()[1]

    def row(self, name: str, data: str, lr: Pixels8, pair: Pair) -> Row:
        """Measure the method `name` on a picture."""
        digest, load = self.methods[name]
        key = data, pair.name, name, digest
        if key not in self.found:
            if name not in self.loaded:
                self.loaded[name] = load()
            result = self.loaded[name](lr)
            self.found[key] = Row(
                data,
                pair.name,
                self.scale,
                name,
                digest,
                round(psnr_y(result, pair.hr, self.scale), 3),
                round(lpips_distance(self.lpips, result, pair.hr), 5),
                round(energy(result, self.scale) / energy(pair.hr, self.scale), 4),
                round(colour_shift(result, pair.hr), 4),
            )
        return self.found[key]


def blend_name(clean: float) -> str:
    """Name of a blend of `portrait` and `photo`."""
    return f"portrait, clean {clean:g}"


def measure(folder: Path, scale: int, models: Sequence[str], lpips: Lpips, known: Sequence[Row]) -> Iterator[Row]:
    """Rows of all methods on all sets, taken from `known` if possible."""
    bench = Bench(scale, lpips, known)
    for model in models:
        bench.add(model, model)
    blends: dict[float, str] = {}
    if {"portrait", "photo"} <= set(models):
        blends = {0.0: "portrait", **{clean: blend_name(clean) for clean in SLIDER}, 1.0: "photo"}
        for clean in SLIDER:
            bench.add(blends[clean], "portrait", clean)
    for index, pair in enumerate(centres(folder, scale)):
        for data, (lr, quality) in degraded(pair, index).items():
            names = [
                "bicubic",
                "lanczos",
                *models,
                *(blends[clean] for clean in SLIDER if data in SLIDER_SETS and blends),
            ]
            yield from (bench.row(name, data, lr, pair) for name in names)
            for name, stated in (("auto", quality), ("auto, pixels alone", None)) if blends else ():
                amount = choose_clean(to_float(lr)[0], stated).amount
                yield replace(bench.row(blends[amount], data, lr, pair), method=name)


def means(rows: Sequence[Row]) -> Mapping[tuple[int, str, str], tuple[float, float, float, float]]:
    """(scale, method, set) -> means of PSNR, LPIPS, energy and colour."""
    groups: dict[tuple[int, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.scale, row.method, row.data), []).append(row)
    return {
        key: (
            statistics.fmean(row.psnr for row in group),
            statistics.fmean(row.lpips for row in group),
            statistics.fmean(row.energy for row in group),
            statistics.fmean(row.colour for row in group),
        )
        for key, group in groups.items()
    }


def table(rows: Sequence[Row], scale: int, methods: Sequence[str] = ()) -> str:
    """PSNR / LPIPS of each method (empty: all) on each set, as Markdown."""
    measured = means([row for row in rows if row.scale == scale])
    sets = list(dict.fromkeys(data for _, _, data in measured))
    lines = [f"| ×{scale} | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    for method in methods or dict.fromkeys(method for _, method, _ in measured):
        cells = [measured.get((scale, method, data)) for data in sets]
        lines.append(f"| {method} | {' | '.join(f'{cell[0]:.2f} / {cell[1]:.4f}' if cell else '' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Row]) -> str:
    """The most important PSNR / LPIPS, as Markdown."""
    measured = means(rows)
    columns = [(scale, data) for scale in (2, 4) for data in ("clean", "q75", "q50", "phone")]
    heads = " | ".join(f"{data} ×{scale}" for scale, data in columns)
    lines = [f"| PSNR-Y dB / LPIPS | {heads} |", "|---" * (len(columns) + 1) + "|"]
    for method in ("bicubic", "portrait", "photo", "auto"):
        cells = (measured.get((scale, method, data)) for scale, data in columns)
        lines.append(f"| {method} | {' | '.join(f'{c[0]:.2f} / {c[1]:.3f}' if c else '' for c in cells)} |")
    return "\n".join(lines) + "\n"


def page(rows: Sequence[Row], peers: Path) -> str:
    """benchmarks/results/photos.md."""
    measured = means(rows)
    parts = [
        "# JPEGs and phone pictures\n",
        PROTOCOL,
        "## In short\n",
        summary(rows),
    ]
    scales = sorted({row.scale for row in rows})
    for scale in scales:
        parts += [f"## ×{scale}\n", table(rows, scale)]
    parts += [
        "## Texture and colour\n",
        MEASURES,
    ]
    sets = list(dict.fromkeys(row.data for row in rows))
    for scale in scales:
        lines = [f"| ×{scale} | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
        for method in ("bicubic", "portrait", "photo", "auto"):
            cells = [measured.get((scale, method, data)) for data in sets]
            lines.append(f"| {method} | {' | '.join(f'{c[2]:.2f} / {c[3]:.2f}' if c else '' for c in cells)} |")
        parts.append("\n".join(lines) + "\n")
    parts += [
        "## Other networks\n",
        QUOTED,
    ]
    with peers.open(encoding="utf-8") as stream:
        quoted = list(csv.DictReader(stream))
    for scale in scales:
        lines = [line for line in quoted if int(line["scale"]) == scale]
        if lines:
            names = [name for name in lines[0] if name not in ("method", "parameters", "scale")]
            parts.append(
                "\n".join(
                    [
                        f"| ×{scale} | parameters | {' | '.join(names)} |",
                        "|---" * (len(names) + 2) + "|",
                        *(
                            f"| {line['method']} | {int(line['parameters']) / 1e6:.2f} M | "
                            f"{' | '.join(line[name] for name in names)} |"
                            for line in lines
                        ),
                    ]
                )
                + "\n"
            )
    parts += [
        "## Compared with them\n",
        "PSNR in dB / LPIPS, each minus that of bicubic on the same pictures. `photo` and `auto` are measured on the"
        " portraits of this page, the others are quoted from the tables above.\n",
        *(
            differences(measured, scale, lines)
            for scale in scales
            if (lines := [line for line in quoted if int(line["scale"]) == scale])
        ),
    ]
    return "\n".join(parts)


def differences(
    measured: Mapping[tuple[int, str, str], tuple[float, float, float, float]],
    scale: int,
    quoted: Sequence[Mapping[str, str]],
) -> str:
    """PSNR / LPIPS of our and of quoted networks, each minus that of bicubic on its own pictures, as Markdown."""
    theirs: dict[str, dict[str, tuple[float, float]]] = {}
    for line in quoted:
        if not line["method"].startswith("TinySR"):
            pairs = {data: line[data].split(" / ") for data in COMPARED if " / " in line[data]}
            theirs[line["method"]] = {data: (float(psnr), float(lpips)) for data, (psnr, lpips) in pairs.items()}
    ours = {name: {data: measured[scale, name, data][:2] for data in COMPARED} for name in ("bicubic", "photo", "auto")}
    lines = [f"| ×{scale} | {' | '.join(COMPARED)} |", "|---" * (len(COMPARED) + 1) + "|"]
    for title, methods in (("**TinySR {}**", ours), ("{}", theirs)):
        bicubic = methods.pop("bicubic")
        for name, found in methods.items():
            cells = (
                f"{found[data][0] - bicubic[data][0]:+.2f} / {found[data][1] - bicubic[data][1]:+.3f}"
                if data in found
                else "-"
                for data in COMPARED
            )
            lines.append(f"| {title.format(name)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="validation portraits")
    parser.add_argument("--lpips", type=Path, required=True, help="folder of lpips_alex.safetensors")
    parser.add_argument("--scales", type=int, nargs="+", default=SCALES)
    parser.add_argument("--models", nargs="+", default=["fidelity", "portrait", "photo"], help="names or paths")
    parser.add_argument("--results", type=Path, default=RESULTS / "photos.csv")
    arguments = parser.parse_args()
    lpips, known = load_lpips("alex", arguments.lpips), read_rows(arguments.results, Row)
    rows: list[Row] = []
    for scale in arguments.scales:
        rows += measure(arguments.folder, scale, arguments.models, lpips, known)
        print(table(rows, scale), flush=True)
    others = [row for row in known if row.scale not in arguments.scales]
    rows = sorted(rows + others, key=lambda row: row.scale)
    write_rows(rows, arguments.results)
    with atomic_write(arguments.results.with_suffix(".md")) as temporary:
        temporary.write_text(page(rows, RESULTS / "photos_peers.csv"), encoding="utf-8")


if __name__ == "__main__":
    main()
