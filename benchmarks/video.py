"""Measure memory and flicker of videos.

    python benchmarks/video.py portrait.jpg

* Memory: the peak of the process after every twenty frames, for a clip of 854 x 480 pixels at x2.
* Flicker: the mean difference of neighbouring frames of a still portrait with sensor noise, compared with the flicker
  of the source frames and of their bicubic enlargement.

Prints Markdown. Results: results/video.md.
"""

import argparse
import itertools
import resource
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tinysr_core import load_upscaler
from tinysr_core.postprocess import resize
from tinysr_core.video import VideoProgress, upscale_video

FRAMES = 160
SIZE = 854, 480
STILL_FRAMES, STILL_SIDE = 6, 200
NOISE = (1, 2, 4)
"""Standard deviations of the noise, in levels of 255."""


def clip(path: Path, photo: Image.Image) -> None:
    """Write a clip in which the camera moves over a photograph."""
    wide = np.asarray(photo.resize((SIZE[0] + 2 * FRAMES, SIZE[1])))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(FRAMES):
            frame = np.ascontiguousarray(wide[:, 2 * i : 2 * i + SIZE[0]])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())


def measure_memory(photo: Image.Image) -> None:
    unit = 1 if sys.platform == "darwin" else 1024
    print("| frames done | peak of the process |")
    print("|---|---|")

    def show(progress: VideoProgress) -> None:
        if progress.done and progress.done % 20 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            print(f"| {progress.done} | {peak / 1e6:.0f} MB |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "clip.mp4")
        clip(source, photo)
        upscale_video(source, Path(folder, "large.mp4"), load_upscaler(device="cpu"), model="portrait", progress=show)


def measure_flicker(photo: Image.Image) -> None:
    print("| weights | noise | flicker | flicker of the source | of bicubic | ratio to the source | to bicubic |")
    print("|---|---|---|---|---|---|---|")
    face = photo.resize((2 * STILL_SIDE, 2 * STILL_SIDE)).resize((STILL_SIDE, STILL_SIDE))
    still = np.asarray(face, np.float32).transpose(2, 0, 1)[None] / 255
    random = np.random.default_rng(0)
    for name in ("fidelity", "portrait", "photo"):
        upscaler = load_upscaler(name, device="cpu")
        for noise in NOISE:
            frames = [
                (still + random.normal(0, noise / 255, still.shape)).clip(0, 1).astype(np.float32)
                for _ in range(STILL_FRAMES)
            ]
            ours = flicker([upscaler.upscale(frame) for frame in frames])
            bicubic = flicker([resize(frame, 2 * STILL_SIDE, 2 * STILL_SIDE) for frame in frames])
            own = flicker(frames)
            figures = (ours, own, bicubic, ours / own, ours / bicubic)
            print(f"| {name} | {noise} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


def flicker(frames: list[np.ndarray]) -> float:
    """Mean difference of neighbouring frames, in levels of 255."""
    return float(np.mean([255 * np.abs(later - earlier).mean() for earlier, later in itertools.pairwise(frames)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    photo = Image.open(parser.parse_args().photo).convert("RGB")
    measure_flicker(photo)
    print()
    measure_memory(photo)


if __name__ == "__main__":
    main()
