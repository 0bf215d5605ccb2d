"""*TinySR Sharpen + AA*: the paper's finishing steps on a batch of frames."""

from typing import Any

from torch import Tensor

from ..tinysr_core.pipeline import bleed
from ..tinysr_core.postprocess import anti_alias as supersample
from ..tinysr_core.postprocess import sharpen as unsharp_mask
from . import frames, host

WORKING_MEMORY = 1 << 28
"""Bytes for the slabs that the filters work on."""


class TinySRSharpenAA:
    """An unsharp mask, then supersampling; each can be switched off. The defaults are the paper's."""

    CATEGORY = "image/filters"
    DESCRIPTION = (
        "Crisper edges, then smoother stairs: the unsharp mask and the supersampling of the TinySR paper, in floating "
        "point. Made to follow TinySR Upscale, and good after any other node."
    )
    SEARCH_ALIASES = ("sharpen", "unsharp mask", "anti-alias", "antialiasing", "smooth edges", "supersampling")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures, with as many channels as came in.",)
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
                    | {"tooltip": "Radius of the blur that the unsharp mask compares with, in pixels."},
                ),
                "percent": (
                    "INT",
                    {"default": 100, "min": 0, "max": 500, "step": 5}
                    | {"tooltip": "Strength of the unsharp mask; 0 changes nothing."},
                ),
                "threshold": (
                    "INT",
                    {"default": 1, "min": 0, "max": 255}
                    | {"tooltip": "Differences up to this, of 255, are left alone, so that grain is not sharpened."},
                ),
                "anti_alias": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Supersampling: makes stairs at edges smoother."},
                ),
                "blur": (
                    "FLOAT",
                    {"default": 0.5, "min": 0.0, "max": 5.0, "step": 0.05, "round": 0.001}
                    | {"tooltip": "Radius of the blur at twice the size, in pixels of that size."},
                ),
                "amount": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05, "round": 0.001}
                    | {"tooltip": "Share of the anti-aliased picture in the result; 0 changes nothing."},
                ),
                "device": (
                    list(host.DEVICES),
                    {"tooltip": "auto: where ComfyUI computes. cpu: leaves the graphics card alone."},
                ),
            }
        }

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
        """IMAGE [B,H,W,C] -> IMAGE [B,H,W,C]; the alpha of a picture stays as it is.

        Raises:
            RequestError: the pictures have other than 1 to 4 channels, or there is no GPU where one is asked for.
            MemoryLimitError: the result would not fit into memory.
        """
        target = host.device(device)
        batch, height, width, channels = image.shape
        result = host.new_image(batch, height, width, channels)
        host.make_room(
            WORKING_MEMORY + 4 * 4 * 3 * height * width, target
        )  # the frame, its result, and either once more
        sharpened, smoothed = sharpen and percent > 0 and radius > 0, anti_alias and amount > 0
        show = host.progress_bar(batch)
        for i, frame in enumerate(image):
            show(i, 0, 1)
            pixels, alpha = frames.split(frame.to(target))
            if alpha is not None and (sharpened or smoothed):
                pixels = bleed(pixels, alpha)
            if sharpened:
                pixels = unsharp_mask(pixels, radius, percent, threshold)
            if smoothed:
                pixels = supersample(pixels, blur, amount, in_place=sharpened)
            frames.write(result[i], pixels, alpha)
            show(i, 1, 1)
        return (result,)
