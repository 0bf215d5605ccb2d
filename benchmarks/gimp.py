"""Time the plug-in in a real, headless GIMP 3: python benchmarks/gimp.py > benchmarks/results/gimp.md

It needs root and a GIMP made by `setup_gimp3.sh`. `--tools` names the folder with this script and `run_gimp3.sh`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import tinysr_core
from tinysr_core.gimp import Profile, install_plugin

REPOSITORY = Path(tinysr_core.__file__).parents[1]
IDLE = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "import tinysr_core.gimp.worker as worker\n"
    "class Idle:\n"
    "    def __call__(self, request, planes, progress):\n"
    "        return worker.Answer(planes.repeat(2, 2).repeat(2, 3))\n"
    "worker.Enlarger = Idle\n"
    "raise SystemExit(worker.main())"
)
"""A worker with nearest neighbour instead of the network. What remains is reading, the pipe and the new layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, default=REPOSITORY.parent / "shared" / "tools")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "gimp3" / "root")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--large", default="8000x6000", help="size of the picture for the memory measurement")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (report,) = install_plugin([Profile(folder / "profile")])
        if report.problem:
            sys.exit(report.problem)
        commands = folder / "commands.json"
        commands.write_text(json.dumps([report.command, [sys.executable, "-I", "-c", IDLE, str(REPOSITORY)]]))
        subprocess.run(
            [
                *("bash", arguments.tools / "run_gimp3.sh", "-r", arguments.root, "-v", sys.prefix, "-w", folder),
                *("-t", "3000", "-b", REPOSITORY, report.profile.plugin, REPOSITORY / "benchmarks" / "gimp_batch.py"),
                *(folder / "result.json", report.profile.plugin, commands, arguments.large, str(arguments.repeats)),
                *map(str, arguments.sides),
            ],
            check=True,
            stdout=sys.stderr,
        )
        found = json.loads((folder / "result.json").read_text())
    print_table(found, arguments.repeats)


def print_table(found: dict, repeats: int) -> None:
    print(
        f"# The GIMP plug-in: seconds\n\nGIMP {found['version']} headless, {os.cpu_count()} CPU cores "
        f"({platform.processor() or platform.machine()}), torch {torch.__version__}. RGBA 8-bit layer, x2, into a new "
        f"image. Seconds are the best of {repeats} runs, with the median in brackets. Load average at the end: "
        f"{os.getloadavg()[0]:.1f}.\n\n"
        "| layer | from OK to the picture | of which without the network | PDB call, including the worker's start |\n"
        "|---|---|---|---|"
    )
    for side, times in found["sides"].items():
        cells = (shown(times[name]) for name in ("after OK", "beside the network", "whole call"))
        print(f"| {side} x {side} | {' | '.join(cells)} |")
    print(
        "\n*Without the network* is the same run with nearest neighbour instead of the network: it reads the layer, "
        "sends it both ways through the pipe, and makes and fills the new layer.\n\n| step | seconds |\n|---|---|\n"
        f"| the worker answers, and the dialog can open | {shown(found['hello'])} |\n"
        f"| preview of a 256 x 256 crop | {shown(found['preview'])} |\n"
        f"| the same preview after the slider has moved | {shown(found['preview, new detail'])} |\n\n"
        "The worker loads its libraries while the user looks at the dialog.\n\n"
        f"Peak memory for an RGB layer of {found['large']}, x2:\n\n| | MB |\n|---|---|\n"
        f"| plug-in | {found['memory']['plug-in']} |\n| worker | {found['memory']['worker']} |\n"
        f"| of which the picture, as 32-bit floats | {found['memory']['picture']} |\n"
        f"| of which its result, as 32-bit floats | {found['memory']['result']} |\n\n"
        "Made by `python benchmarks/gimp.py`."
    )


def shown(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} ({sorted(seconds)[len(seconds) // 2]:.2f})"


if __name__ == "__main__":
    main()
