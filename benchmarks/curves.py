"""Draw how the shipped weights were trained, from the logs of their runs.

    python benchmarks/curves.py docs/images/training_curves.svg

results/training_logs/NAME.jsonl is the `metrics.jsonl` of the run that wrote weights/NAME.safetensors, or a base of it.
A panel for each: a line for the loss on the training patches, means over 2 % of the run, and dots for PSNR-Y on the
photographs held out.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

LOGS = Path(__file__).parent / "results" / "training_logs"
COLUMNS = 2
WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 56, 30, 26
STYLE = (
    "text { font: 11px sans-serif; fill: #808080 } .title { font-size: 13px } .end { text-anchor: end } .dots { fill: "
    "#e07b39 } .line { fill: none; stroke: #4a86d8; stroke-width: 1.5 } .axis { fill: none; stroke: #a0a0a0 }"
)

Point = tuple[float, float]


def panel(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The SVG elements of one run."""
    loss = smoothed([(row["step"], row["total"]) for row in rows if "total" in row])
    scores = [(row["step"], row["validation"]["psnr"]) for row in rows if "validation" in row]
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


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Means over a fiftieth of the points."""
    size = max(1, len(points) // 50)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0], fmean(value for _, value in part)) for part in parts]


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
    arguments = parser.parse_args()
    parts: list[str] = []
    for number, path in zip(count(), sorted(LOGS.glob("*.jsonl"))):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        row, column = divmod(number, COLUMNS)
        body = "".join(panel(path.stem, rows))
        parts.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">{body}</g>')
    height = HEIGHT * -(-len(parts) // COLUMNS)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} {height}"><style>{STYLE}</style>'
    arguments.picture.write_text(head + "".join(parts) + "</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
