"""Measure whether enlarged faces stay the same person: the distance of a face recogniser between result and original.

    python benchmarks/identity.py ../shared/data/val/portraits_cc0

It needs the extra `identity`. Portraits are reduced four times, as they are and saved as JPEG 50. The distances go to
results/identity.csv, and from there to results/quality.md when model_cards.py runs. If weights have not changed, their
rows are taken from the last results.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from photos import jpeg
from rows import read_rows, write_rows

from tinysr_core.engines import RunOptions
from tinysr_core.evaluation import FaceRecognizer, Method, interpolation, network
from tinysr_core.evaluation.table import load_pairs
from tinysr_core.model import model_name, read_checkpoint, shipped_folder, weights_digest

RESULTS = Path(__file__).parent / "results" / "identity.csv"
SCALE = 4
SETS = ("clean", "q50")


@dataclass(frozen=True)
class Row:
    """Result of one method on one portrait of one set."""

    data: str
    picture: str
    method: str
    weights: str
    """First digits of the hash of the weights; empty for bicubic."""
    distance: float
    """Euclidean distance of dlib's face embeddings; two different people are about 0.8 apart."""


def measure(folder: Path, known: Sequence[Row]) -> Iterator[Row]:
    """Rows of bicubic and of all shipped weights, taken from `known` if possible. Portraits in which dlib finds no face
    are left out."""
    found = {(row.data, row.picture, row.method, row.weights): row for row in known}
    methods: dict[str, tuple[str, Method]] = {"bicubic": ("", interpolation("bicubic", SCALE))}
    for path in sorted(shipped_folder().glob(f"*-x{SCALE}.safetensors")):
        digest = weights_digest(read_checkpoint(path).tensors)[:12]
        method = network(str(path), SCALE, RunOptions(clean=0, precision="fp32"))[1]
        methods[model_name(path)] = digest, method
    faces = FaceRecognizer()
    for pair in load_pairs(folder, SCALE):
        for data, lr in zip(SETS, (pair.lr, jpeg(pair.lr, 50)), strict=True):
            for name, (digest, method) in methods.items():
                row = found.get((data, pair.name, name, digest))
                if row is None:
                    distance = faces.distance(method(lr), pair.hr)
                    if distance is None:
                        break
                    row = Row(data, pair.name, name, digest, round(distance, 4))
                yield row


def table(rows: Sequence[Row]) -> str:
    """Mean distances of each method on each set, as Markdown."""
    pictures = len({row.picture for row in rows})
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        groups.setdefault((row.method, row.data), []).append(row.distance)
    lines = [f"| ×{SCALE}, {pictures} portraits | {' | '.join(SETS)} |", "|---" * (len(SETS) + 1) + "|"]
    for method in dict.fromkeys(row.method for row in rows):
        cells = (f"{statistics.fmean(groups[method, data]):.3f}" for data in SETS)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="validation portraits")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for row in measure(arguments.folder, read_rows(RESULTS, Row)):
        rows.append(row)
        print(f"{row.data} {row.picture} {row.method}: {row.distance:.3f}", file=sys.stderr)
    write_rows(rows, RESULTS)
    print(table(rows))


if __name__ == "__main__":
    main()
