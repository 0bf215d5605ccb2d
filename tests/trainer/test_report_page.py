import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from tinysr_core.trainer.report_page import MAX_POINTS, RunSummary, write_report
from tinysr_core.trainer.validation import Scores

ROWS = [
    {"step": 50, "minutes": 1, "total": 0.5, "l1": 0.1},
    {"step": 60, "minutes": 1, "validation": {"psnr": 30.5, "lpips": 0.11}},
    {"step": 100, "minutes": 2, "total": 0.4, "l1": 0.09},
    {"step": 120, "minutes": 2, "validation": {"psnr": 30.4, "lpips": 0.10}},
]
SCORES = {"bicubic": Scores(29, 0.2), "base": Scores(30, 0.12), "now": Scores(30.4, 0.10)}


def page(folder: Path, summary: RunSummary, preview: Path | None = None) -> str:
    write_report(folder / "report.html", summary, preview)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_shows_figures_and_curves_and_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"picture")
    summary = RunSummary("<me> ×2", "Step 120 of 200", None, ROWS, SCORES, 120)
    text = page(tmp_path, summary, tmp_path / "p.png")
    assert "&lt;me&gt; ×2" in text
    assert "<me>" not in text
    assert "<td>base</td><td>30.00 dB</td><td>0.1200</td>" in text
    assert "data:image/png;base64,cGljdHVyZQ==" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert [chart.get("aria-label") for chart in charts] == [
        "PSNR-Y in dB, higher is better",
        "LPIPS, lower is better",
        "loss on the training patches",
        "term l1 of the loss",
    ]
    assert len(charts[0].findall("path[@class='base']")) == 1
    best = charts[1].find("circle[@class='best']/title")
    assert best is not None
    assert best.text == "step 120: 0.1"
    HTMLParser().feed(text)


def test_it_reloads_only_while_the_run_is_going_on(tmp_path: Path) -> None:
    running = RunSummary("a", "b", None, [], {}, None)
    assert "location.reload" in page(tmp_path, running)
    assert "location.reload" not in page(tmp_path, RunSummary("a", "b", "Done.", [], {}, None))


def test_without_validation_photographs_it_says_so(tmp_path: Path) -> None:
    assert "No validation photographs" in page(tmp_path, RunSummary("a", "b", None, ROWS[:1], {}, None))


def test_long_runs_are_thinned(tmp_path: Path) -> None:
    rows = [{"step": step, "minutes": 0, "total": 1 / step} for step in range(1, 10_000)]
    text = page(tmp_path, RunSummary("a", "b", None, rows, {}, None))
    points = re.findall(r'<polyline points="(.*?)"', text)[0].split()
    assert len(points) <= MAX_POINTS + 1
