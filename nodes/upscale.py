"""*TinySR Upscale*: any UPSCALE_MODEL on a batch of frames, to any size."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.pipeline import enhance
from ..tinysr_core.postprocess import ExactSize, Finish, resize
from . import frames, host
from .engine import PRECISIONS, CpuEngine, upscaler_for
from .size import MODES, SizeRequest

SELECTION, TRANSPARENCY = "selection", "transparency"


class TinySRUpscale:
    """Frames go through one by one, are brought to size on the way, and are written into one result."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = (
        "Enlarges pictures with TinySR, or with any other upscale model, to the network's own scale or to any size. "
        "Batches, transparency and grey pictures stay what they are, and tiles leave no seams."
    )
    SEARCH_ALIASES = ("superres", "super resolution", "upscale", "enlarge", "upscale with model", "exact size")
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = (
        "The enlarged pictures, with as many channels as came in.",
        "The enlarged mask; without one, where the pictures are transparent.",
    )
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "upscale_model": ("UPSCALE_MODEL", {"tooltip": "From Load TinySR or any other upscale model loader."}),
                "image": ("IMAGE", {"tooltip": "A picture or a batch of them, for example the frames of a video."}),
                "size": (
                    list(MODES),
                    {
                        "tooltip": "network scale: as large as the network makes it. factor: both sides times factor. "
                        "fit: as large as width and height allow. fill: covers width and height, cut off evenly. "
                        "stretch: exactly width by height. megapixels: that many million pixels. "
                        "All but stretch keep the proportions."
                    },
                ),
                "factor": (
                    "FLOAT",
                    {"default": 2.0, "min": 0.05, "max": 16.0, "step": 0.05, "round": 0.0001}
                    | {"tooltip": "For size factor: both sides times this, for example 1.5."},
                ),
                "width": (
                    "INT",
                    {"default": 0, "min": 0, "max": 32768}
                    | {"tooltip": "For size fit, fill or stretch, in pixels; 0 follows from the height."},
                ),
                "height": (
                    "INT",
                    {"default": 0, "min": 0, "max": 32768}
                    | {"tooltip": "For size fit, fill or stretch, in pixels; 0 follows from the width."},
                ),
                "megapixels": (
                    "FLOAT",
                    {"default": 4.0, "min": 0.01, "max": 500.0, "step": 0.1, "round": 0.001}
                    | {"tooltip": "For size megapixels: about this many million pixels."},
                ),
                "tile": (
                    "INT",
                    {"default": 0, "min": 0, "max": 8192, "step": 32}
                    | {
                        "tooltip": "Side of a tile in pixels of the small picture; 0 chooses. Smaller needs less "
                        "memory; with TinySR the result is the same."
                    },
                ),
                "device": (
                    list(host.DEVICES),
                    {"tooltip": "auto: where ComfyUI computes. cpu: leaves the graphics card alone."},
                ),
                "precision": (
                    list(PRECISIONS),
                    {
                        "tooltip": "auto: what is fast and safe on the device. fp32 is exact, "
                        "fp16 and bf16 need less memory."
                    },
                ),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "Is enlarged with the picture. One mask serves all frames of a batch."}),
                "mask_is": (
                    [SELECTION, TRANSPARENCY],
                    {
                        "tooltip": "selection: the picture is the same with and without the mask. transparency: for a "
                        "cut-out from Load Image; colours hidden by the mask do not show as a fringe."
                    },
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    def __init__(self) -> None:
        self._cpu_engine = CpuEngine()

    def upscale(
        self,
        upscale_model: Any,
        image: Tensor,
        size: str,
        factor: float,
        width: int,
        height: int,
        megapixels: float,
        tile: int,
        device: str,
        precision: str,
        mask: Tensor | None = None,
        mask_is: str = SELECTION,
        unique_id: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """IMAGE [B,H,W,C], MASK [b,h,w] or [h,w] -> IMAGE [B,H',W',C], MASK [B,H',W'], [b,H',W'] or [1,H',W']."""
        upscaler = upscaler_for(upscale_model, host.device(device), precision, tile or None, self._cpu_engine)
        upscaler, clean = upscaler.for_picture(image.movedim(-1, 1)[:, : 3 if image.shape[-1] > 2 else 1])
        if clean is not None:
            host.show(str(clean), unique_id)
        batch, old_height, old_width, channels = image.shape
        sizing = SizeRequest(size, factor, width, height, megapixels).sizing(old_height, old_width, upscaler.scale)
        result = host.new_image(batch, *sizing.kept, channels)

        selection, cut_outs = None, None
        if mask is not None and mask_is == SELECTION:
            selection = frames.settle(sizing.crop(resize(_planes(mask), sizing.height, sizing.width)))
        elif mask is not None:
            cut_outs = 1 - frames.settle(resize(_planes(mask), old_height, old_width))
        transparent = cut_outs is not None or channels in (2, 4)
        result_mask = torch.zeros(batch if transparent else 1, *sizing.kept, device=result.device)

        finish = Finish(size=ExactSize(sizing.width, sizing.height))
        show = host.progress_bar(batch)
        for i, frame in enumerate(image):
            pixels, alpha = frames.split(frame)
            if alpha is None and cut_outs is not None:
                alpha = cut_outs[[i % len(cut_outs)]]
            pixels, alpha = enhance(upscaler, pixels, alpha, finish, progress=partial(show, i))
            if alpha is not None:
                alpha = frames.settle(sizing.crop(alpha))
                result_mask[i] = 1 - alpha[0, 0]
            frames.write(result[i], sizing.crop(pixels), alpha)
        return result, result_mask if selection is None else selection[:, 0].to(result.device)


def _planes(mask: Tensor) -> Tensor:
    """MASK [b,h,w] or [h,w] -> float32 [b,1,h,w]."""
    return mask.to(torch.float32).reshape(-1, 1, *mask.shape[-2:])
