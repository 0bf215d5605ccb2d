"""Update the tables in README.md and docs/how-it-works.md from the committed results, between their markers.

    python benchmarks/readme_tables.py

The quality table comes from results/quality.csv, which `python benchmarks/model_cards.py` makes, and results/peers.csv.
`<!-- table: rivals SCALE -->` is the table of rivals.py. `<!-- table: speed -->` joins the tables of results/speed.md
and results/speed_avx2.md. `<!-- table: FILE.md HEADING -->` copies the first table below that heading in
results/FILE.md.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

import rivals

from tinysr_core import find_checkpoint
from tinysr_core.model import read_info
from tinysr_core.util import atomic_write

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "how-it-works.md")
COLUMNS = (("set5", 2), ("portraits_cc0", 2), ("set5", 4), ("portraits_cc0", 4))
HEADS = ("Set5 ×2", "10 portraits ×2", "Set5 ×4", "10 portraits ×4")
PEERS = ("CARN-M", "EFDN", "SMFANet", "Fast-SRGAN (GAN)")
SPEED_HEADING = "1024 x 1024"
SPEED_HEADS = (
    "method",
    "seconds",
    "speed, stock node = 1",
    "share of matmul",
    "memory MB",
    "AVX2 alone: seconds",
    "AVX2 alone: speed",
)
MARKED = re.compile(r"(<!-- table: (?P<what>[^\n]*?) -->\n).*?(<!-- end of table -->)", re.S)

Scores = dict[tuple[str, int], tuple[float, float]]
"""PSNR and LPIPS by data set and scale."""


def quality_table() -> str:
    """PSNR-Y and LPIPS of interpolation, other networks and TinySR."""
    scores = defaultdict(dict, {**peers(), **ours()})
    rows: dict[str, tuple[str, Scores]] = {
        "bicubic": ("", scores["bicubic"]),
        "Lanczos": ("", scores["lanczos"]),
        **{name: (f"{millions:.2f} M", scores[name]) for name, millions in peer_sizes().items() if name in PEERS},
    }
    for name in ("fidelity", "portrait"):
        size = f"{read_info(find_checkpoint(name, 2)).config.parameters / 1e6:.2f} M"
        own = {c: scores[f"tinysr-{name}-x{c[1]}"][c] for c in COLUMNS if c in scores[f"tinysr-{name}-x{c[1]}"]}
        if len(own) < len(COLUMNS):
            raise SystemExit("quality.csv does not hold all that the table needs. Run benchmarks/model_cards.py first.")
        rows[f"**TinySR {name}**"] = size, own
    lines = [f"| PSNR-Y dB / LPIPS | parameters | {' | '.join(HEADS)} |", "|---" * (2 + len(HEADS)) + "|"]
    for name, (size, found) in rows.items():
        cells = (f"{found[c][0]:.2f} / {found[c][1]:.3f}" if c in found else "-" for c in COLUMNS)
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ours() -> dict[str, Scores]:
    """Means over the pictures, for every method in quality.csv."""
    pictures: defaultdict[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
    for row in _rows("quality.csv"):
        pictures[row["method"], row["data"], int(row["scale"])].append((float(row["psnr"]), float(row["lpips"])))
    scores: defaultdict[str, Scores] = defaultdict(dict)
    for (method, data, scale), values in pictures.items():
        psnr, lpips = zip(*values, strict=True)
        scores[method][data, scale] = mean(psnr), mean(lpips)
    return scores


def peers() -> dict[str, Scores]:
    """The means in peers.csv."""
    scores: defaultdict[str, Scores] = defaultdict(dict)
    for row in _rows("peers.csv"):
        scores[row["method"]][row["data"], int(row["scale"])] = float(row["psnr"]), float(row["lpips"])
    return scores


def peer_sizes() -> dict[str, float]:
    """Millions of parameters at the smallest scale."""
    sizes: dict[str, float] = {}
    for row in _rows("peers.csv"):
        sizes.setdefault(row["method"], int(row["parameters"]) / 1e6)
    return sizes


def copied_table(name: str, heading: str) -> str:
    """The first table below a heading of a results page."""
    text = (RESULTS / name).read_text(encoding="utf-8")
    below = text[text.index(f"# {heading}\n") :]
    found = re.search(r"(?:^\|.*\n)+", below, re.M)
    if found is None:
        raise SystemExit(f"{name} has no table below {heading!r}.")
    return found[0].rstrip("\n")


def speed_table() -> str:
    """Seconds and relative speed with the newest instructions and with AVX2 alone, and memory."""
    newest, avx2 = (
        {row[0]: row[1:] for row in map(_cells, copied_table(name, SPEED_HEADING).splitlines()[2:])}
        for name in ("speed.md", "speed_avx2.md")
    )
    lines = [f"| {' | '.join(SPEED_HEADS)} |", "|---" * len(SPEED_HEADS) + "|"]
    for method, (seconds, _, speed, share, memory) in newest.items():
        limited = avx2.get(method, ["-", "", "-"])  # bf16 needs newer instructions
        lines.append(f"| {' | '.join((method, seconds, speed, share, memory, limited[0], limited[2]))} |")
    return "\n".join(lines)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def filled(text: str) -> str:
    """`text` with updated tables between its markers."""

    def table(marked: re.Match[str]) -> str:
        name, _, heading = marked["what"].partition(" ")
        if name == "quality":
            content = quality_table()
        elif name == "speed":
            content = speed_table()
        elif name == "rivals":
            content = rivals.table(int(heading))
        elif (RESULTS / name).exists():
            content = copied_table(name, heading)
        else:
            return marked[0]  # not measured yet
        return f"{marked[1]}{content}\n{marked[3]}"

    return MARKED.sub(table, text)


def _rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def main() -> None:
    for page in PAGES:
        text = filled(page.read_text(encoding="utf-8"))
        with atomic_write(page) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
