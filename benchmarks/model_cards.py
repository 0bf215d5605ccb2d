"""Measure the shipped weights and write their headers, weights/*.md and benchmarks/results/quality.*

python benchmarks/model_cards.py

It needs the validation pictures and LPIPS in ../shared. It only measures weights that have changed, so you can stop it
at any time and run it again. New weights for all scales take about 15 minutes on two cores.
"""

import argparse
import csv
import datetime
import hashlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import identity
import photos
import torch
from quality import FINISH, PART_SETS, SCALES, SETS, SLIDER, STANDARD_SCALES, Measured, measure
from rows import read_rows

from tinysr_core.errors import TinySRError
from tinysr_core.evaluation import as_markdown
from tinysr_core.loss import load_lpips
from tinysr_core.model import Checkpoint, model_name, read_checkpoint, weights_digest, write_checkpoint
from tinysr_core.util import atomic_write

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
TRAINED = ("recipe", "step", "validation", "data_sha256", "validation_sha256", "base_sha256", "blended")
"""Keys of the card that the trainer wrote and that stay unchanged."""

RELATIONS = ("twin", "photo")

Means = Mapping[str, float]
Figures = Mapping[str, Mapping[str, Means]]
"""Method -> data -> metric -> mean."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights", help="folder of the checkpoints")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "val", help="folder of the validation sets")
    parser.add_argument("--lpips", type=Path, default=SHARED / "weights", help="folder of lpips_alex.safetensors")
    arguments = parser.parse_args()
    paths = sorted(arguments.weights.glob("*.safetensors"))
    for path in paths:
        name_relatives(path)
    lpips = load_lpips("alex", arguments.lpips)
    rows = measure(arguments.weights, arguments.data, lpips, arguments.results / "quality.csv")
    photographs = read_rows(arguments.results / "photos.csv", photos.Row)
    today = datetime.date.today().isoformat()
    for path in paths:
        write_header(path, figures(rows, read_checkpoint(path).config.scale), photographs, today)
    families: dict[str, list[Path]] = {}
    for path in paths:
        families.setdefault(model_name(path), []).append(path)
    for name, members in families.items():
        write_text(arguments.weights / f"{name}.md", family_card(name, members, rows, photographs))
    faces = read_rows(arguments.results / "identity.csv", identity.Row)
    page = quality_page(paths, rows, arguments.results / "peers.csv", faces, today)
    write_text(arguments.results / "quality.md", page)


def texts_of(path: Path) -> Mapping[str, Any]:
    """The texts of model_cards.toml about the family of a checkpoint."""
    family = TEXTS["families"].get(model_name(path))
    if family is None:
        raise SystemExit(f"model_cards.toml has no [families.{model_name(path)}] for {path.name}. Add it.")
    return family


def name_relatives(path: Path) -> None:
    """Write the names of existing relatives into the header. Measuring the sliders needs them."""
    checkpoint = read_checkpoint(path)
    card = {key: value for key, value in checkpoint.card.items() if key not in RELATIONS}
    family = texts_of(path)
    for relation in RELATIONS:
        if relation in family:
            relative = path.with_name(path.name.replace(model_name(path), family[relation]))
            if relative.is_file():
                card[relation] = relative.stem
    if card != checkpoint.card:
        write_checkpoint(path, checkpoint.config, checkpoint.tensors, card)


def write_header(path: Path, measured: Figures, photographs: Sequence[photos.Row], today: str) -> None:
    """Write the whole card into the header of a checkpoint. The same weights and figures give the same bytes."""
    checkpoint, family = read_checkpoint(path), texts_of(path)
    digest = weights_digest(checkpoint.tensors)
    scale = checkpoint.config.scale
    card: dict[str, Any] = {key: checkpoint.card[key] for key in TRAINED if key in checkpoint.card}
    card |= {
        "title": f"{family['title']} ×{scale}",
        "description": family["summary"].format(scale=scale),
        "made_for": TEXTS["made_for"].strip(),
        "not_made_for": TEXTS["not_made_for"].strip(),
        "author": TEXTS["author"],
        "license": TEXTS["license"],
        "date": checkpoint.card["date"] if checkpoint.card.get("weights_sha256") == digest else today,
        "recipe_name": family["recipe"],
        "weights_sha256": digest,
        "trained_on": {entry["name"]: f"{entry['license']}, {entry['origin']}" for entry in TEXTS["data"]},
        "protocol": TEXTS["protocol"].strip(),
        "figures": {data: rounded(means) for data, means in measured[path.stem].items()},
    }
    if "twin" in checkpoint.card:
        card |= {"twin": checkpoint.card["twin"]}
        if scale in STANDARD_SCALES:
            card |= {"detail": slider(checkpoint, measured)}
    if "photo" in checkpoint.card:
        card |= {"photo": checkpoint.card["photo"], "clean": clean_slider(photographs, scale)}
    if int8_name(path.stem) in measured:
        card["figures_int8"] = {data: rounded(means) for data, means in measured[int8_name(path.stem)].items()}
    if card != checkpoint.card:
        write_checkpoint(path, checkpoint.config, checkpoint.tensors, card)


def figures(rows: Iterable[Measured], scale: int) -> Figures:
    """Means over the pictures of each data set."""
    groups: dict[str, dict[str, list[Measured]]] = {}
    for row in rows:
        if row.scale == scale:
            groups.setdefault(row.method, {}).setdefault(row.data, []).append(row)
    return {
        method: {
            data: {
                metric: statistics.fmean(getattr(row, metric) for row in group) for metric in ("psnr", "ssim", "lpips")
            }
            for data, group in by_data.items()
        }
        for method, by_data in groups.items()
    }


def rounded(means: Means) -> Means:
    return {metric: round(value, 2 if metric == "psnr" else 4) for metric, value in means.items()}


def slider(checkpoint: Checkpoint, measured: Figures) -> Mapping[str, Mapping[str, Means]]:
    """Detail -> data -> means, from the twin (0) to the checkpoint (1)."""
    stem = checkpoint.path.stem
    methods = {"0": checkpoint.card["twin"], **{f"{d:g}": f"{stem} (detail {d:g})" for d in SLIDER}, "1": stem}
    return {detail: {data: rounded(measured[method][data]) for data in PART_SETS} for detail, method in methods.items()}


def clean_slider(photographs: Sequence[photos.Row], scale: int) -> Mapping[str, Mapping[str, Means]]:
    """Clean -> set of photos.py -> means, from the checkpoint (0) to the photo network (1)."""
    measured = photos.means(photographs)
    blends = {0.0: "portrait", **{clean: photos.blend_name(clean) for clean in photos.SLIDER}, 1.0: "photo"}
    return {
        f"{clean:g}": {
            data: {
                "psnr": round(measured[scale, method, data][0], 2),
                "lpips": round(measured[scale, method, data][1], 4),
            }
            for data in photos.SLIDER_SETS
        }
        for clean, method in blends.items()
    }


def int8_name(stem: str) -> str:
    """The name of a checkpoint in int8 in the rows."""
    return f"{stem} (int8)"


def family_card(name: str, paths: Sequence[Path], rows: Sequence[Measured], photographs: Sequence[photos.Row]) -> str:
    """The page about all scales of a family."""
    family = texts_of(paths[0])
    checkpoints = [read_checkpoint(path) for path in paths]
    any_config = checkpoints[0].config
    scales = ", ".join(f"×{checkpoint.config.scale}" for checkpoint in checkpoints)
    parts = [
        f"# {family['title']}\n\n<!-- written by benchmarks/model_cards.py -->\n",
        family["summary"].format(scale=scales).replace(" times", "", 1) + "\n",
        f"**For** {lower(TEXTS['made_for'])}\n\n**Not for** {lower(TEXTS['not_made_for'])}\n",
        f"The network of [TinySR](../README.md), preset `{family['preset']}`: {any_config.channels} channels,"
        f" {any_config.blocks} blocks. Licence: {TEXTS['license']}.\n",
        "## Files\n",
        table(
            ["file", "scale", "parameters", "date", "SHA-256 of the file"],
            [
                [c.path.name, f"×{c.config.scale}", f"{c.config.parameters:,}", c.card["date"], f"`{sha256(c.path)}`"]
                for c in checkpoints
            ],
        ),
        "## Figures\n",
        TEXTS["protocol"].strip() + " Cells are PSNR in dB / SSIM / LPIPS."
        " [Quality](../benchmarks/results/quality.md) has standard deviations and every picture.\n",
        figures_table(checkpoints, rows),
    ]
    if any("twin" in c.card for c in checkpoints):
        parts += [
            "## Detail\n",
            f"`--detail` (in ComfyUI and GIMP: *detail*) blends these weights with those of `{family['twin']}`: 0 is"
            f" `{family['twin']}`, 1 is `{name}`. PSNR in dB / LPIPS:\n",
            *(slider_table(c) for c in checkpoints if "detail" in c.card),
        ]
    if any("clean" in c.card for c in checkpoints):
        parts += [
            "## Clean\n",
            f"`--clean` (in ComfyUI and GIMP: *clean*) blends these weights with those of `{family['photo']}`: 0 is"
            f" `{name}`, 1 is `{family['photo']}`. PSNR in dB / LPIPS on the sets of"
            " [photos](../benchmarks/results/photos.md):\n",
            *(clean_table(c) for c in checkpoints if "clean" in c.card),
        ]
    if name == "photo":
        parts += [
            "## Compressed and noisy photographs\n",
            "PSNR in dB / LPIPS on the sets of [photos](../benchmarks/results/photos.md):\n",
            *(photos.table(photographs, c.config.scale, ("bicubic", "portrait", "photo")) for c in checkpoints),
        ]
    if any("figures_int8" in c.card for c in checkpoints):
        parts += [
            "## In 8 bits\n",
            "Effect of int8 in OpenVINO (PSNR in dB / LPIPS):\n",
            int8_table(checkpoints),
        ]
    parts += [
        "## Training\n",
        f"Recipe [`{family['recipe']}`](../training/recipes/{family['recipe']}.toml). The header of each file has"
        " all values of the recipe (`tinysr info FILE`). The hash of the weights covers the numbers only, not the"
        " header.\n",
        table(
            ["file", "steps", "seed", "photographs", "started from", "weights"],
            [training_row(c) for c in checkpoints],
        ),
        "Trained on:\n",
        table(
            ["photographs", "images", "licence", "origin"],
            [[d["name"], str(d["images"]), d["license"], d["origin"]] for d in TEXTS["data"]],
        ),
    ]
    return "\n".join(parts)


def figures_table(checkpoints: Sequence[Checkpoint], rows: Sequence[Measured]) -> str:
    lines: list[list[str]] = []
    for checkpoint in checkpoints:
        scale = checkpoint.config.scale
        measured = figures(rows, scale)
        for title, method in (("bicubic", "bicubic"), (f"**{model_name(checkpoint.path)}**", checkpoint.path.stem)):
            lines.append([f"×{scale}", title, *triples(measured[method])])
    return table(["scale", "method", *SETS], lines)


def slider_table(checkpoint: Checkpoint) -> str:
    details = checkpoint.card["detail"]
    return table(
        [f"×{checkpoint.config.scale}", *(f"detail {detail}" for detail in details)],
        [[data, *(pair(means[data]) for means in details.values())] for data in PART_SETS],
    )


def clean_table(checkpoint: Checkpoint) -> str:
    cleans = checkpoint.card["clean"]
    return table(
        [f"×{checkpoint.config.scale}", *(f"clean {clean}" for clean in cleans)],
        [[data, *(pair(means[data]) for means in cleans.values())] for data in photos.SLIDER_SETS],
    )


def int8_table(checkpoints: Sequence[Checkpoint]) -> str:
    known = [c for c in checkpoints if "figures_int8" in c.card]
    data = [name for name in SETS if name in known[0].card["figures_int8"]]
    lines: list[list[str]] = []
    for c in known:
        for title, means in (("as trained", c.card["figures"]), ("int8", c.card["figures_int8"])):
            lines.append([f"×{c.config.scale}", title, *(pair(means[name]) if name in means else "" for name in data)])
    return table(["scale", "", *data], lines)


def training_row(checkpoint: Checkpoint) -> list[str]:
    card = checkpoint.card
    recipe = card.get("recipe", {})
    step, steps = card.get("step", "?"), recipe.get("steps", "?")
    hashes = (f"`{str(card[key])[:12]}…`" if card.get(key) else "-" for key in ("data_sha256", "base_sha256"))
    return [
        checkpoint.path.name,
        f"{step:,}" if step == steps else f"{step} of {steps}",
        str(recipe.get("seed", "?")),
        *hashes,
        f"`{card['weights_sha256'][:12]}…`",
    ]


def quality_page(
    paths: Sequence[Path], rows: Sequence[Measured], peers: Path, faces: Sequence[identity.Row], today: str
) -> str:
    """benchmarks/results/quality.md."""
    parts = [
        "# Quality of the shipped weights\n",
        f"`python benchmarks/model_cards.py`, {today}, torch {torch.__version__}. Cells are means ± standard deviations"
        f" over the pictures; [quality.csv](quality.csv) has every picture. {TEXTS['protocol'].strip()} To make such a"
        " table for your own photographs, run `tinysr evaluate --data DIR… --scale S --models portrait fidelity --lpips"
        " DIR`.\n",
        f"`{FINISH}` adds the paper's finishing steps: unsharp mask and supersampling. They are meant for the eye."
        " Sharpening overshoots, which lowers PSNR.\n",
    ]
    plain = [row for row in rows if "(" not in row.method]
    for scale in SCALES:
        parts += [f"## ×{scale}\n", as_markdown([row for row in plain if row.scale == scale])]
    parts += [
        "## Compared with other networks\n",
        "PSNR-Y in dB / SSIM-Y / LPIPS. The other networks use their published weights. They were measured with this"
        " protocol on these pictures; their figures are quoted from [peers.csv](peers.csv), not measured by this"
        " script.\n",
    ]
    for scale in STANDARD_SCALES:
        parts += [f"### ×{scale}\n", peers_table(paths, rows, peers, scale)]
    parts += [
        "## Identity\n",
        "Whether the person stays the person: the mean distance between the faces of the result and of the original in"
        " the embedding of dlib's face recogniser, on portraits_cc0. Two different people are about 0.8 apart. In the"
        " set `q50`, the small pictures are saved as JPEG 50. `python benchmarks/identity.py` measures it:"
        " [identity.csv](identity.csv) has every picture. For your own photographs, run"
        " `tinysr evaluate --identity`.\n",
        identity.table(faces),
        "## Detail slider\n",
    ]
    for path in paths:
        checkpoint = read_checkpoint(path)
        if "detail" in checkpoint.card:
            parts += [f"`{path.stem}`, PSNR-Y in dB / LPIPS:\n", slider_table(checkpoint)]
    return "\n".join(parts)


def peers_table(paths: Sequence[Path], rows: Sequence[Measured], peers: Path, scale: int) -> str:
    lines: dict[tuple[int, str], dict[str, str]] = {}
    with peers.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if int(row["scale"]) == scale:
                key = int(row["parameters"]), row["method"]
                lines.setdefault(key, {})[row["data"]] = f"{row['psnr']} / {row['ssim']} / {row['lpips']}"
    measured = figures(rows, scale)
    for config, path in ((read_checkpoint(path).config, path) for path in paths):
        if config.scale == scale:
            key = config.parameters, f"**TinySR {model_name(path)}**"
            lines[key] = {data: triple(measured[path.stem][data]) for data in SETS}
    lines[0, "bicubic"] = {data: triple(measured["bicubic"][data]) for data in SETS}
    return table(
        ["method", "parameters", *SETS],
        [
            [name, f"{parameters:,}" if "TinySR" in name else f"{parameters // 1000:,} K" if parameters else "0"]
            + [cells.get(data, "-") for data in SETS]
            for (parameters, name), cells in sorted(lines.items())
        ],
    )


def triples(measured: Mapping[str, Means]) -> list[str]:
    return [triple(measured[data]) if data in measured else "-" for data in SETS]


def triple(means: Means) -> str:
    return f"{means['psnr']:.2f} / {means['ssim']:.4f} / {means['lpips']:.4f}"


def pair(means: Means) -> str:
    return f"{means['psnr']:.2f} / {means['lpips']:.4f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines]) + "\n"


def lower(text: str) -> str:
    """`text` with a lower-case first letter."""
    return text.strip()[:1].lower() + text.strip()[1:]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except TinySRError as error:
        sys.exit(f"model_cards.py: {error}")
    except KeyboardInterrupt:
        sys.exit("model_cards.py: stopped. The measurements so far are saved. Run the same command to resume.")
