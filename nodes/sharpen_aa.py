"""*TinySR Sharpen + AA*: the paper's finishing steps on a batch of frames."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.engines import inference
from ..tinysr_core.pipeline import bleed
from ..tinysr_core.postprocess import anti_alias as supersample
from ..tinysr_core.postprocess import sharpen as unsharp_mask
from ..tinysr_core.util import Progress
from . import frames, host
from .engine import DEVICE_TOOLTIP
from .values import checked

WORKING_MEMORY = 1 << 28
"""Bytes for the slabs of rows that the filters work on."""


class TinySRSharpenAA:
    """An unsharp mask, then supersampling; each can be switched off. The defaults are the paper's."""

    CATEGORY = host.category("image/filters", "image/postprocessing")
    DESCRIPTION = (
        "Sharpens edges, then smooths jagged lines: the unsharp mask and the supersampling of the TinySR paper, in "
        "floating point. Use it after TinySR Upscale or any other node."
    )
    SEARCH_ALIASES = ("sharpen", "unsharp mask", "anti-alias", "antialiasing", "smooth edges", "supersampling")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures, with as many channels as the input.",)
    FUNCTION = "finish"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "A picture or a batch of them."}),
                "sharpen": ("BOOLEAN", {"default": True, "tooltip": "Unsharp mask: makes edges crisper."}),
                "radius": (
                    "FLOAT",
                    {"default": 1.2, "min": 0.0, "max": 20.0, "step": 0.1, "round": 0.001}
                    | {"tooltip": "Radius of the blur of the unsharp mask, in pixels."},
                ),
                "percent": (
                    "INT",
                    {"default": 100, "min": 0, "max": 500, "step": 5}
                    | {"tooltip": "Strength of the unsharp mask. 0 changes nothing."},
                ),
                "threshold": (
                    "INT",
                    {"default": 1, "min": 0, "max": 255}
                    | {"tooltip": "Differences up to this (of 255) are not sharpened, to spare grain."},
                ),
                "anti_alias": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Supersampling: smooths jagged edges."},
                ),
                "blur": (
                    "FLOAT",
                    {"default": 0.5, "min": 0.0, "max": 5.0, "step": 0.05, "round": 0.001}
                    | {"tooltip": "Radius of the blur at double size, in pixels of that size."},
                ),
                "amount": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05, "round": 0.001}
                    | {"tooltip": "Share of the anti-aliased picture in the result. 0 changes nothing."},
                ),
                "device": (host.devices(), {"tooltip": DEVICE_TOOLTIP}),
            }
        }

    @checked
    def finish(
        self,
        image: Tensor,
        sharpen: bool,
        radius: float,
        percent: int,
        threshold: int,
        anti_alias: bool,
        blur: float,
        amount: float,
        device: str,
    ) -> tuple[Tensor]:
        """IMAGE [B,H,W,C] -> IMAGE [B,H,W,C]. Alpha is not changed.

        Raises:
            RequestError: the pictures do not have 1 to 4 channels, or the device is a GPU and there is none.
            MemoryLimitError: the result would not fit into memory.
        """
        target = host.device(device)
        batch, height, width, channels = image.shape
        working = WORKING_MEMORY + 4 * 4 * channels * height * width  # the frame, its result, and a copy of each
        result = host.new_image(batch, height, width, channels, working)
        host.make_room(working, target)
        sharpen, anti_alias = sharpen and percent > 0 and radius > 0, anti_alias and amount > 0
        steps = sharpen + anti_alias

        def finished(pixels: Tensor, alpha: Tensor | None, progress: Progress) -> Tensor:
            """Sharpen and anti-alias; each of the two is one part of the progress."""
            if alpha is not None and steps:
                pixels = bleed(pixels, alpha)
            if sharpen:
                pixels = unsharp_mask(
                    pixels, radius, percent, threshold, progress=lambda done, total: progress(done, steps * total)
                )
            if anti_alias:
                before = steps - 1
                pixels = supersample(
                    pixels,
                    blur,
                    amount,
                    in_place=sharpen,
                    progress=lambda done, total: progress(before * total + done, steps * total),
                )
            return pixels

        show = host.progress_bar(batch)
        for i, frame in enumerate(frames.cleaned(image, "image")):
            show(i, 0, 1)
            progress = partial(show, i)
            pixels, alpha = frames.split(frame)
            try:
                with inference():
                    moved = None if alpha is None else alpha.to(target)
                    pixels = finished(pixels.to(target), moved, progress)
            except MemoryError:
                host.warn(f"A frame does not fit on {target}; the CPU takes over.")
                target = torch.device("cpu")
                pixels = finished(pixels.to(target), None if alpha is None else alpha.to(target), progress)
            frames.write(result[i : i + 1], pixels, alpha)
            show(i, 1, 1)
        return (result,)
