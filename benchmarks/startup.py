"""Start-up time of the command line and of GIMP's worker, and the time until its first picture.

    python benchmarks/startup.py

Each figure is the best of several runs, each in a new process. Results: results/startup.md.
"""

import argparse
import json
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import torch": ["-c", "import torch"],
    "import openvino": ["-c", "import openvino"],
    "import openvino, as TinySR does": ["-c", "import tinysr_core.engines.openvino_runtime"],
    "tinysr --help": ["-m", "tinysr_core.cli", "--help"],
    "tinysr models": ["-m", "tinysr_core.cli", "models"],
}
SIDE = 64


def run_time(arguments: list[str]) -> float:
    """Seconds from start to end of a Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def worker_times() -> dict[str, float]:
    """Seconds from the start of a worker until it says hello, is ready, and sends its first result.

    It is ready when it answers a request that needs no network: by then it has imported everything.
    """
    resize = {"protocol": 1, "type": "resize", "width": SIDE, "height": SIDE, "channels": 3}
    resize |= {"result_width": SIDE, "result_height": SIDE}
    options = {"model": "", "factor": 2.0, "detail": 1.0, "sharpen": False, "anti_alias": False}
    upscale = resize | options | {"type": "upscale", "result_width": 2 * SIDE, "result_height": 2 * SIDE}
    command = [sys.executable, "-I", "-m", "tinysr_core.gimp.worker"]
    times: dict[str, float] = {}
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin and worker.stdout

        def answer(until: str) -> float:
            while True:
                message = json.loads(worker.stdout.readline())
                if message["type"] == until:
                    worker.stdout.read(
                        4 * message.get("channels", 0) * message.get("width", 0) * message.get("height", 0)
                    )
                    return time.perf_counter() - start

        times["worker: hello"] = answer("hello")
        for name, request in (("worker: ready", resize), (f"worker: first {SIDE} x {SIDE} picture", upscale)):
            worker.stdin.write(json.dumps(request).encode() + b"\n" + bytes(4 * 3 * SIDE * SIDE))
            worker.stdin.flush()
            times[name] = answer("done")
        worker.kill()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    worker_times()  # fills the caches
    print("| | seconds |\n|---|---|")
    for name, command in COMMANDS.items():
        print(f"| `{name}` | {min(run_time(command) for _ in range(arguments.runs)):.2f} |", flush=True)
    runs = [worker_times() for _ in range(arguments.runs)]
    for name in runs[0]:
        print(f"| {name} | {min(run[name] for run in runs):.2f} |")


if __name__ == "__main__":
    main()
