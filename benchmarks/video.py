"""Measure memory and flicker of videos.

    python benchmarks/video.py portrait.jpg [more.jpg ...] [--only flicker|memory]

* Memory: the peak of the process after every twenty frames, for a clip of 854 x 480 pixels at x2.
* Flicker: the mean difference of neighbouring frames of still portraits with sensor noise, uncompressed and as H.264,
  compared with the flicker of the source frames and of their bicubic enlargement. Ratios are means over the portraits,
  with their standard errors.

Prints Markdown. Results: results/video.md.
"""

import argparse
import io
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
STILL_FRAMES, STILL_SIDE = 6, 128
STILLS = {"noise 1": (1, None), "noise 4": (4, None), "noise 3, H.264 at 18": (3, 18), "noise 3, H.264 at 23": (3, 23)}
"""Standard deviation of the noise, in levels of 255, and the constant rate factor of H.264."""
WEIGHTS = (("fidelity", 0.0), ("portrait", 0.0), ("portrait", 0.5), ("portrait", 1.0))
"""Name, and how much of the photo network is blended in: at 1 it is `photo`."""
SCALES = (2, 3, 4)


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


def measure_flicker(photos: list[Image.Image]) -> None:
    print("| scale | weights | clean | frames | flicker | of the frames | to the frames | highest | to bicubic |")
    print("|---|---|---|---|---|---|---|---|---|")
    for scale, (name, clean) in itertools.product(SCALES, WEIGHTS):
        upscaler = load_upscaler(name, scale=scale, device="cpu", clean=clean)
        side = scale * STILL_SIDE
        for still, (noise, quality) in STILLS.items():
            stacks = [still_camera(photo, scale, noise, quality) for photo in photos]
            own = np.array([flicker(frames) for frames in stacks])
            ours = np.array([flicker([upscaler.upscale(frame) for frame in frames]) for frames in stacks])
            bicubic = np.array([flicker([resize(frame, side, side) for frame in frames]) for frames in stacks])
            ratio = ours / own
            error = ratio.std(ddof=1) / len(photos) ** 0.5 if len(photos) > 1 else 0
            levels = f"{ours.mean():.2f} | {own.mean():.2f}"
            ratios = f"{ratio.mean():.2f} ± {error:.2f} | {ratio.max():.2f} | {(ours / bicubic).mean():.2f}"
            print(f"| x{scale} | {name} | {clean:g} | {still} | {levels} | {ratios} |", flush=True)


def still_camera(photo: Image.Image, scale: int, noise: float, quality: int | None) -> list[np.ndarray]:
    """Frames [1,3,H,W] of a portrait that does not move, with new noise in each."""
    face = photo.resize((scale * STILL_SIDE, scale * STILL_SIDE)).resize((STILL_SIDE, STILL_SIDE))
    still = np.asarray(face, np.float32)
    random = np.random.default_rng(0)
    levels = [(still + random.normal(0, noise, still.shape)).clip(0, 255) for _ in range(STILL_FRAMES)]
    if quality is not None:
        levels = compressed([np.rint(frame).astype(np.uint8) for frame in levels], quality)
    return [np.asarray(frame, np.float32).transpose(2, 0, 1)[None] / 255 for frame in levels]


def compressed(frames: list[np.ndarray], quality: int) -> list[np.ndarray]:
    """Encode frames [H,W,3] as H.264 and decode them."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        video = file.add_stream("libx264", rate=25, options={"crf": str(quality)})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(video.encode())
    stream.seek(0)
    with av.open(stream) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def flicker(frames: list[np.ndarray]) -> float:
    """Mean difference of neighbouring frames, in levels of 255."""
    return float(np.mean([255 * np.abs(later - earlier).mean() for earlier, later in itertools.pairwise(frames)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="portraits; memory is measured with the first")
    parser.add_argument("--only", choices=["flicker", "memory"], help="measure only one of the two")
    arguments = parser.parse_args()
    photos = [Image.open(path).convert("RGB") for path in arguments.photos]
    if arguments.only != "memory":
        measure_flicker(photos)
        print()
    if arguments.only != "flicker":
        measure_memory(photos[0])


if __name__ == "__main__":
    main()
