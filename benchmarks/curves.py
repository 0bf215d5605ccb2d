"""Draw the training curves of the shipped weights.

    python benchmarks/curves.py docs/images/training_curves.svg
    python benchmarks/curves.py docs/images/training_curves.svg --add tinysr-photo-x2 runs/photo-x2/metrics.jsonl

The picture has a panel for each run: a line for the loss on the training patches, and dots for PSNR-Y on the validation
photographs. The second command first adds a run to results/training_curves.csv, in place of an earlier run with that
name.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from pathlib import Path
from statistics import fmean

CURVES = Path(__file__).parent / "results" / "training_curves.csv"
COLUMNS = ("run", "step", "minutes", "loss", "psnr_y_db", "lpips")
POINTS = 50
"""Largest number of rows for the losses of a run, and for its validations."""
PANELS = 2
"""Number of panels side by side."""
WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 56, 30, 26
STYLE = (
    "text { font: 11px sans-serif; fill: #808080 } .title { font-size: 13px } .end { text-anchor: end } .dots { fill: "
    "#e07b39 } .line { fill: none; stroke: #4a86d8; stroke-width: 1.5 } .axis { fill: none; stroke: #a0a0a0 }"
)

Point = tuple[float, float]
Row = dict[str, str]


def compact(name: str, metrics: Path) -> Iterator[Row]:
    """The rows of `COLUMNS` for the metrics.jsonl of a run: means of the loss over a fiftieth of the run, and at most
    fifty of its validations, the last one included."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    losses = [row for row in rows if "total" in row]
    size = -(-len(losses) // POINTS)
    for part in (losses[i : i + size] for i in range(0, len(losses), size)):
        yield row_of(name, part[-1]) | {"loss": f"{fmean(row['total'] for row in part):.5g}"}
    scores = [row for row in rows if "validation" in row]
    for row in scores[:: -max(1, -(-len(scores) // POINTS))][::-1]:
        psnr, lpips = row["validation"].get("psnr"), row["validation"].get("lpips")
        yield row_of(name, row) | {"psnr_y_db": f"{psnr:.3f}", "lpips": "" if lpips is None else f"{lpips:.4f}"}


def row_of(name: str, row: dict[str, float]) -> Row:
    return dict.fromkeys(COLUMNS, "") | {"run": name, "step": str(row["step"]), "minutes": f"{row['minutes']:.1f}"}


def panel(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """The SVG elements of one run."""
    loss = [(float(row["step"]), float(row["loss"])) for row in rows if row["loss"]]
    scores = [(float(row["step"]), float(row["psnr_y_db"])) for row in rows if row["psnr_y_db"]]
    steps = loss[-1][0]
    yield f'<text class="title" x="{LEFT}" y="16">{name}, {steps:,.0f} steps</text>'
    yield f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}V{TOP}"/>'
    line = list(placed(loss, steps))
    yield f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in line)}"/>'
    for (x, y), (_, psnr) in zip(placed(scores, steps), scores, strict=True):
        yield f'<circle class="dots" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{psnr:.2f} dB</title></circle>'
    for values, x, kind, unit in ((loss, LEFT - 5, "end", ""), (scores, WIDTH - RIGHT + 5, "", " dB")):
        ends = [value for _, value in values]
        for value, y in ((max(ends), TOP + 8), (min(ends), HEIGHT - BOTTOM)):
            yield f'<text class="{kind}" x="{x}" y="{y}">{value:.4g}{unit}</text>'


def placed(points: Sequence[Point], steps: float) -> Iterator[Point]:
    """Points in a panel, whose height is from the smallest to the largest value."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    for step, value in points:
        share = (high - value) / ((high - low) or 1)
        yield LEFT + (WIDTH - LEFT - RIGHT) * step / steps, TOP + (HEIGHT - TOP - BOTTOM) * share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--add", nargs=2, metavar=("NAME", "METRICS"))
    arguments = parser.parse_args()
    with CURVES.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if arguments.add:
        name, metrics = arguments.add
        rows = [row for row in rows if row["run"] != name] + list(compact(name, Path(metrics)))
        rows.sort(key=lambda row: row["run"])
        with CURVES.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    parts: list[str] = []
    for number, (name, own) in zip(count(), groupby(rows, key=lambda row: row["run"])):
        row, column = divmod(number, PANELS)
        body = "".join(panel(name, list(own)))
        parts.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">{body}</g>')
    height = HEIGHT * -(-len(parts) // PANELS)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PANELS * WIDTH} {height}"><style>{STYLE}</style>'
    arguments.picture.write_text(head + "".join(parts) + "</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
