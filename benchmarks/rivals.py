"""The paper's Table 1, made fair: its methods and TinySR on the same pictures.

Three files have the figures: results/quality.csv (bicubic and TinySR, measured by model_cards.py), results/espcn.csv
(measured by espcn.py) and results/rivals.csv (quoted, with their sources; means only). readme_tables.py writes the
tables into docs/how-it-works.md.
"""

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from quality import Measured, read

RESULTS = Path(__file__).parent / "results"
DATA = {"set5": "Set5", "set14": "Set14", "portraits_cc0": "10 portraits"}
METHODS = {
    "bicubic": "bicubic",
    "ESPCN (public weights)": "ESPCN, public weights",
    "ESPCN": "ESPCN, trained as TinySR",
    "A+": "A+",
    "SRCNN": "SRCNN",
    "tinysr-fidelity-x{scale}": "**TinySR fidelity**",
    "tinysr-portrait-x{scale}": "**TinySR portrait**",
    "tinysr-portrait-64-x{scale}": "**TinySR portrait-64**",
}
"""Method in the results -> name in the table."""
DIGITS = {"psnr": 2, "ssim": 4, "lpips": 3}


def table(scale: int) -> str:
    """Mean ± standard deviation of PSNR-Y, SSIM-Y and LPIPS for each method with results at this scale."""
    measured = [row for name in ("quality.csv", "espcn.csv") for row in read(RESULTS / name) if row.scale == scale]
    lines = [f"| ×{scale} | {' | '.join(DATA.values())} |", "|---" * (1 + len(DATA)) + "|"]
    for method, title in METHODS.items():
        name = method.format(scale=scale)
        own = {data: [row for row in measured if (row.method, row.data) == (name, data)] for data in DATA}
        cells = [_spread(own[data]) if own[data] else _quoted(name, scale, data) for data in DATA]
        if set(cells) != {"-"}:
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(rows: Sequence[Measured]) -> str:
    columns = {metric: [getattr(row, metric) for row in rows] for metric in DIGITS}
    return " / ".join(
        f"{_number(statistics.fmean(values), metric)} ± {_number(statistics.stdev(values), metric)}"
        for metric, values in columns.items()
    )


def _quoted(method: str, scale: int, data: str) -> str:
    with (RESULTS / "rivals.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if (row["method"], row["scale"], row["data"]) == (method, str(scale), data):
                return " / ".join(_number(float(row[metric]), metric) for metric in DIGITS)
    return "-"


def _number(value: float, metric: str) -> str:
    """37.13 for PSNR, .9562 for SSIM, .044 for LPIPS."""
    return f"{value:.{DIGITS[metric]}f}".removeprefix("0" if metric != "psnr" else "")
