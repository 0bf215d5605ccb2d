"""*TinySR Upscale*: any UPSCALE_MODEL on a batch of frames, to any size."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.postprocess import resize
from . import frames, host
from .engine import CpuEngine, run_widgets, upscaler_for
from .enlarge import Enlarge, working_memory
from .size import MODES, SizeRequest, size_widgets
from .values import checked

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
                **size_widgets(MODES),
                **run_widgets(),
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
                "match": ("IMAGE", {"tooltip": "For size match size: the result is as large as this picture."}),
                "divisible_by": (
                    "INT",
                    {"default": 1, "min": 1, "max": 512}
                    | {
                        "tooltip": "Both sides become multiples of this, the rest is cut off evenly: 2 for videos, 8, "
                        "16 or 64 for models that ask for it."
                    },
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    def __init__(self) -> None:
        self._cpu_engine = CpuEngine()

    @checked
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
        match: Tensor | None = None,
        divisible_by: int = 1,
        unique_id: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """IMAGE [B,H,W,C], MASK [b,h,w] or [h,w] -> IMAGE [B,H',W',C], MASK [B,H',W'], [b,H',W'] or [1,H',W'].

        Raises:
            RequestError: a value is none that the node takes.
            MemoryLimitError: memory does not suffice.
        """
        target = host.device(device)
        upscaler = upscaler_for(upscale_model, target, precision, tile or None, self._cpu_engine)
        upscaler, clean = upscaler.for_picture(image.movedim(-1, 1)[:, : 3 if image.shape[-1] > 2 else 1])
        if clean is not None:
            host.show_text(str(clean), unique_id)
        batch, old_height, old_width, channels = image.shape
        matched = None if match is None else (match.shape[1], match.shape[2])
        request = SizeRequest(size, factor, width, height, megapixels, divisible_by, matched)
        sizing = request.sizing(old_height, old_width, upscaler.scale)
        result = host.new_image(batch, *sizing.kept, channels, working_memory(upscaler, sizing, image.shape[1:], mask))

        selection, cut_outs = None, None
        show = host.progress_bar(batch)
        waiting = partial(show, 0, 0, 1)
        if mask is not None:
            planes = frames.mask_planes(mask)
            if mask_is == SELECTION:
                grown = resize(planes, sizing.height, sizing.width, progress=lambda *_: waiting())
                selection = frames.settle(sizing.crop(grown))
            else:
                cut_outs = 1 - frames.settle(resize(planes, old_height, old_width, progress=lambda *_: waiting()))
        transparent = cut_outs is not None or channels in (2, 4)
        result_mask = torch.zeros(batch if transparent else 1, *sizing.kept, device=result.device)

        enlarge = Enlarge(upscaler, target)
        for i, frame in enumerate(frames.cleaned(image, "image")):
            pixels, alpha = frames.split(frame)
            if alpha is None and cut_outs is not None:
                alpha = cut_outs[[i % len(cut_outs)]].to(pixels.device)
            pixels, alpha = enlarge(pixels, alpha, sizing, partial(show, i))
            if alpha is not None:
                alpha = frames.settle(alpha)
                result_mask[i] = 1 - alpha[0, 0]
            frames.write(result[i], pixels, alpha)
        return result, result_mask if selection is None else selection[:, 0].to(result.device)
