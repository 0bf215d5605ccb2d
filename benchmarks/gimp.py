"""Measure the plug-in in a real, headless GIMP 3.

    python benchmarks/gimp.py times > benchmarks/results/gimp.md
    python benchmarks/gimp.py memory >> benchmarks/results/gimp.md

It needs root, and a folder with GIMP 3 as docs/gimp.md makes it.
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
    "        return worker.Answer([planes.repeat(2, 2).repeat(2, 3)])\n"
    "worker.Enlarger = Idle\n"
    "raise SystemExit(worker.main())"
)
"""A worker with nearest neighbour instead of the network. What remains is reading, the pipe and the new layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["times", "memory"])
    parser.add_argument("--root", type=Path, default=os.environ.get("GIMP3_ROOT"), help="default: $GIMP3_ROOT")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    arguments = parser.parse_args()
    if arguments.root is None:
        parser.error("name a folder with GIMP 3 by --root or GIMP3_ROOT")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (report,) = install_plugin([Profile(folder / "profile")])
        if report.problem:
            sys.exit(report.problem)
        task = {
            "plugin": str(report.profile.plugin),
            "real": report.command,
            "idle": [sys.executable, "-I", "-c", IDLE, str(REPOSITORY)],
            "what": arguments.what,
            "sides": arguments.sides,
            "repeats": arguments.repeats,
        }
        (folder / "task.json").write_text(json.dumps(task))
        command = [sys.executable, REPOSITORY / "tools" / "run_gimp.py", "--root", arguments.root, "--limit", "7200"]
        command += ["--plugin", report.profile.plugin, "--folder", folder]
        command += [REPOSITORY / "benchmarks" / "gimp_batch.py", folder / "task.json", folder / "result.json"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        found = json.loads((folder / "result.json").read_text())
    if arguments.what == "times":
        print_times(found, arguments.repeats)
    else:
        print_memory(found)


def print_times(found: dict, repeats: int) -> None:
    print(
        f"# The GIMP plug-in: seconds and memory\n\nGIMP {found['version']} headless; {processor()}, {os.cpu_count()} "
        f"cores, {torch.backends.cpu.get_cpu_capability()}; torch {torch.__version__}. RGBA 8-bit layer, x2, into "
        f"a new image. Seconds are the best of {repeats} runs, with the median in brackets. Load average at the end: "
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
        f"| the worker answers, and the dialog can open | {shown(found['hello'])} |"
    )
    for instructions, times in found["previews"].items():
        print(f"| preview of a 256 x 256 crop, {instructions} | {shown(times['same'])} |")
        print(f"| the same after *Detail* has moved, {instructions} | {shown(times['detail'])} |")
        print(f"| the same after *Clean* has moved, {instructions} | {shown(times['clean'])} |")
    print(
        "\nThe worker loads its libraries while the user looks at the dialog. *AVX2 at most*: oneDNN, torch and MKL "
        "are kept from newer instructions by environment variables, on the same processor."
    )


def print_memory(found: dict) -> None:
    print(
        "\nPeak memory in MB, for RGB layers, x2, into a new image. The picture and its result are one layer and its "
        "result as 32-bit floats; the worker holds them. The 20 layers are enlarged by nearest neighbour instead of "
        "the network, to save time.\n\n"
        "| layers | plug-in | worker | picture | result | worker without the result |\n|---|---|---|---|---|---|"
    )
    for row in found["memory"]:
        names = ("plug-in", "worker", "picture", "result")
        cells = [row["layers"], *(f"{row[name]:,}" for name in names), f"{row['worker'] - row['result']:,}"]
        print(f"| {' | '.join(cells)} |")
    print("\nMade by `python benchmarks/gimp.py times` and `python benchmarks/gimp.py memory`.")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def shown(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} ({sorted(seconds)[len(seconds) // 2]:.2f})"


if __name__ == "__main__":
    main()
