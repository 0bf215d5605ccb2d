"""Measure how soon a real ComfyUI server stops after Cancel.

    path/to/ComfyUI's/python benchmarks/cancel.py path/to/ComfyUI portrait.jpg [--only WORD ...] [--times 7]

Each workflow is queued again and again and cancelled at another moment. Measured is the time from `POST /interrupt` to
the entry of the prompt in the history, and the processor time of the server in between. On an idle machine with n
cores, the time would be between that and an n-th of it. The first run loads and compiles the network. Prints Markdown.
Results: results/comfyui.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import psutil
from PIL import Image
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "comfyui"))
from comfyui_server import Server, Workflow

WIDGETS = {"size": "network scale", "factor": 2.0, "width": 0, "height": 0, "megapixels": 4.0, "tile": 0}
VIDEO = {"codec": "h264", "filename_prefix": "TinySR/video", "quality": 18, "divisible_by": 2}
FINISH = {
    "sharpen": True,
    "radius": 1.2,
    "percent": 100,
    "threshold": 1,
    "anti_alias": True,
    "blur": 0.5,
    "amount": 1.0,
}
FOREIGN = {"Compact x4": "compact.safetensors", "ESRGAN x4": "esrgan.safetensors"}
SIDES = (512, 1536, 2500)


def inputs(base: Path, photo: Image.Image) -> None:
    """Pictures, a video and two networks with random weights in ComfyUI's folders."""
    from safetensors.torch import save_file

    for side in SIDES:
        photo.resize((side, side)).save(base / "input" / f"{side}.png", compress_level=1)
    mask = photo.resize((2000, 2000)).convert("RGBA")
    mask.putalpha(mask.convert("L"))
    mask.save(base / "input" / "mask.png", compress_level=1)
    frame = np.asarray(photo.resize((1920, 1080)))
    with av.open(str(base / "input" / "video.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in range(100):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(frame, 4 * i, 1), "rgb24")))
        file.mux(stream.encode())
    networks = {"Compact x4": Compact(upscale=4), "ESRGAN x4": ESRGAN()}
    for name, file in FOREIGN.items():
        tensors = {key: tensor.contiguous() for key, tensor in networks[name].state_dict().items()}
        save_file(tensors, base / "models" / "upscale_models" / file)


def workflows() -> dict[str, Workflow]:
    """Workflows by what they do; each takes several seconds."""

    def picture(name: str, **widgets: object) -> Workflow:
        upscale = {"upscale_model": ["1", 0], "image": ["2", 0], **WIDGETS, "device": "auto", **widgets}
        return {
            "1": {
                "class_type": "TinySRLoader",
                "inputs": {"checkpoint": "tinysr-portrait-x2.safetensors", "clean": "0"},
            },
            "2": {"class_type": "LoadImage", "inputs": {"image": name}},
            "3": {"class_type": "TinySRUpscale", "inputs": upscale},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        }

    found = {f"Upscale, {p}, 1536 x 1536": picture("1536.png", precision=p) for p in ("fp32", "auto", "bf16")}
    found["Upscale, auto, factor 16 of 512 x 512"] = picture("512.png", precision="auto", size="factor", factor=16.0)
    cut_out = picture("512.png", precision="auto", mask=["5", 0], mask_is="transparency")
    cut_out["5"] = {"class_type": "LoadImageMask", "inputs": {"image": "mask.png", "channel": "alpha"}}
    found["Upscale, auto, 512 x 512 with a mask of 2000 x 2000"] = cut_out
    for name, file in FOREIGN.items():
        foreign = picture("512.png", precision="auto", size="factor", factor=4.0)
        foreign["1"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": file}}
        found[f"Upscale, {name}, 512 x 512"] = foreign
    found["Sharpen + AA, 2500 x 2500"] = {
        "2": {"class_type": "LoadImage", "inputs": {"image": "2500.png"}},
        "3": {"class_type": "TinySRSharpenAA", "inputs": {"image": ["2", 0], **FINISH, "device": "auto"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    video = {"upscale_model": ["1", 0], "video": ["2", 0], **WIDGETS, **VIDEO, "device": "auto", "precision": "auto"}
    found["Upscale Video, auto, 1920 x 1080"] = {
        "1": picture("")["1"],
        "2": {"class_type": "LoadVideo", "inputs": {"file": "video.mp4"}},
        "3": {"class_type": "TinySRUpscaleVideo", "inputs": video},
    }
    return found


def cancelled(server: Server, workflow: Workflow, after: float) -> tuple[float, float] | None:
    """Seconds, and processor seconds of the server, from Cancel to the end; Cancel is `after` seconds from the start.

    None: the workflow had ended before.
    """
    process = psutil.Process(server.process.pid)
    prompt = server.start(workflow)
    time.sleep(after)
    pressed, used = time.perf_counter(), sum(process.cpu_times()[:2])
    server.post("/interrupt", {})
    while not (history := server.get(f"/history/{prompt}")):
        time.sleep(0.02)
    took = time.perf_counter() - pressed, sum(process.cpu_times()[:2]) - used
    kinds = [message[0] for message in history[prompt]["status"]["messages"]]
    return took if "execution_interrupted" in kinds else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names: measure only these workflows")
    parser.add_argument("--times", type=int, default=7, help="how often each workflow is cancelled")
    arguments = parser.parse_args()
    print("| work | first run | median | longest | processor time, first run | median | longest | load average |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(str(arguments.comfyui), Path(folder))
        try:
            inputs(server.base, Image.open(arguments.photo).convert("RGB"))
            for name, workflow in workflows().items():
                if not any(word in name for word in arguments.only):
                    continue
                first = cancelled(server, workflow, 1)
                found: list[tuple[float, float]] = []
                latest = 5.0
                while len(found) < arguments.times:
                    took = cancelled(server, workflow, 0.2 + latest * (0.618 * len(found) % 1))
                    if took is None:
                        latest *= 0.7
                        server.post("/free", {"free_memory": True})  # else the next run takes its result from the cache
                    else:
                        found.append(took)
                columns = []
                for kind in (0, 1):
                    seconds = [took[kind] for took in found]
                    columns += ["-" if first is None else f"{first[kind]:.2f} s"]
                    columns += [f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s"]
                print(f"| {name} | {' | '.join(columns)} | {os.getloadavg()[0]:.1f} |", flush=True)
        finally:
            server.close()


if __name__ == "__main__":
    main()
