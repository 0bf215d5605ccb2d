"""The HTML report of a training run."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..util import png_url, write_html
from .run_folder import MetricsRow
from .validation import METRIC_NAMES, Metric, Scores, figure

WIDTH, HEIGHT, LEFT, MARGIN = 400, 180, 72, 14
"""Size of a chart, the space for its vertical axis, and its margin, in units of the SVG."""
MAX_POINTS = 500
"""Curves with more points are thinned."""
METRIC_TITLES: Mapping[Metric, str] = {
    "psnr": "PSNR-Y in dB, higher is better",
    "texture": "texture distance, lower is better",
    "lpips": "LPIPS, lower is better",
    "loss": "loss on the validation photographs, lower is better",
}


@dataclass(frozen=True)
class RunSummary:
    """What the page shows of a run."""

    title: str
    status: str
    """One line on where the run is, or why it ended."""
    verdict: str | None
    """What the scores mean, in a sentence or two; None while the run is going on."""
    rows: Sequence[MetricsRow]
    """All rows of the metrics."""
    scores: Mapping[str, Scores]
    """The scores of each method, the references first; empty without validation photographs."""
    best_step: int | None
    """The step of the best weights."""


def write_report(path: Path, summary: RunSummary, preview: Path | None) -> None:
    """Write the page.

    Args:
        path: the file to write.
        summary: what to show.
        preview: a PNG to embed, if it exists.

    Raises:
        OSError: the page cannot be written.
    """
    body = [
        f"<h1>{html.escape(summary.title)}</h1>",
        f'<p class="status">{html.escape(summary.status)}</p>',
        f'<p class="verdict">{html.escape(summary.verdict or "")}</p>',
        _table(summary.scores),
        f'<div class="charts">{"".join(_charts(summary))}</div>',
    ]
    if preview is not None and preview.is_file():
        url = png_url(preview.read_bytes())
        body.append(f'<div class="wide"><img src="{url}" alt="Crops of validation photographs"></div>')
    if summary.verdict is None:
        body.append("<script>setTimeout(() => location.reload(), 10000)</script>")
    write_html(path, summary.title, _STYLE, "\n".join(body) + "\n")


def _table(scores: Mapping[str, Scores]) -> str:
    if not scores:
        return "<p>No validation photographs: the quality of the weights is not measured.</p>"
    names: list[Metric] = [name for name in METRIC_NAMES if any(getattr(s, name) is not None for s in scores.values())]
    head = "".join(f"<th>{METRIC_NAMES[name]}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{html.escape(method)}</td>{''.join(f'<td>{figure(name, score)}</td>' for name in names)}</tr>"
        for method, score in scores.items()
    )
    return f"<table><tr><th>validation photographs</th>{head}</tr>{rows}</table>"


def _charts(summary: RunSummary) -> Iterable[str]:
    for metric, title in METRIC_TITLES.items():
        points = [(row["step"], value) for row in summary.rows if (value := row.get("validation", {}).get(metric))]
        if points:
            base = summary.scores.get("base")
            yield _chart(title, points, getattr(base, metric) if base else None, summary.best_step)
    training = [row for row in summary.rows if "total" in row]
    for name in [name for name in (training[-1] if training else {}) if name not in ("step", "minutes")]:
        title = "loss on the training patches" if name == "total" else f"term {name} of the loss"
        yield _chart(title, [(row["step"], row[name]) for row in training])


def _chart(title: str, points: Sequence[tuple[int, float]], base: float | None = None, mark: int | None = None) -> str:
    """A curve as SVG, with a dashed line for the value of the base weights. With `mark`, each point has a dot, and that
    step a larger one.
    """
    points = [*points[:: -(-len(points) // MAX_POINTS)], points[-1]]
    values = [value for _, value in points] + ([] if base is None else [base])
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    low, high = low - room, high + room
    last = max(1, points[-1][0])

    def place(step: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - MARGIN) * step / last
        return round(x, 1), round(MARGIN + (HEIGHT - 2 * MARGIN - 10) * (high - value) / (high - low), 1)

    bottom = place(0, low)[1]
    parts = [f'<path class="axis" d="M{LEFT} {MARGIN}V{bottom}H{WIDTH - MARGIN}"/>']
    for value, y in ((high, MARGIN + 5), (low, bottom)):
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y}">{value:.4g}</text>')
    parts.append(f'<text class="y" x="{WIDTH - MARGIN}" y="{HEIGHT - 4}">step {last}</text>')
    if base is not None:
        y = place(0, base)[1]
        parts.append(f'<path class="base" d="M{LEFT} {y}H{WIDTH - MARGIN}"><title>base: {base:.5g}</title></path>')
        parts.append(f'<text x="{LEFT + 6}" y="{y - 4}">base</text>')
    parts.append('<polyline points="' + " ".join(f"{x},{y}" for x, y in (place(*point) for point in points)) + '"/>')
    for step, value in points if mark is not None else ():
        x, y = place(step, value)
        kind = ' class="best"' if step == mark else ""
        parts.append(f'<circle{kind} cx="{x}" cy="{y}" r="3"><title>step {step}: {value:.5g}</title></circle>')
    body = "".join(parts)
    label = html.escape(title)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{body}</svg>'
    return f"<figure><figcaption>{label}</figcaption>{svg}</figure>"


_STYLE = """\
  body { margin: 0 auto; max-width: 1340px; padding: 16px; }
  h1 { font-size: 20px; margin: 0; }
  p { margin: 4px 0 12px; }
  .status { color: #a0a0a0; }
  .verdict { font-size: 16px; }
  .verdict:empty { display: none; }
  table { border-collapse: collapse; margin: 12px 0; }
  th, td { padding: 4px 14px 4px 0; text-align: right; font-variant-numeric: tabular-nums; }
  th { color: #a0a0a0; font-weight: normal; }
  th:first-child, td:first-child { text-align: left; }
  .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px; }
  figure { margin: 0; padding: 8px; background: #181818; border-radius: 6px; }
  figcaption { padding-left: 6px; }
  svg { display: block; width: 100%; }
  svg text { fill: #a0a0a0; font: 11px system-ui, sans-serif; }
  svg .y { text-anchor: end; }
  svg .axis { fill: none; stroke: #505050; }
  svg .base { fill: none; stroke: #a0a0a0; stroke-dasharray: 4 3; }
  svg polyline { fill: none; stroke: #8ab4f8; stroke-width: 1.5; stroke-linejoin: round; }
  svg circle { fill: #8ab4f8; }
  svg .best { fill: #f4f4f4; stroke: #8ab4f8; stroke-width: 2; r: 4.5px; }
  .wide { overflow-x: auto; margin-top: 16px; }
"""
