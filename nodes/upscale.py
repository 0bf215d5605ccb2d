"""*TinySR Upscale*: any UPSCALE_MODEL on a batch of frames, to any size."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.postprocess import resize
from . import frames, host
from .engine import run_widgets
from .enlarge import MODEL_INPUT, Enlarge, UpscaleNode
from .size import MODES, SizeRequest, size_widgets
from .values import checked

SELECTION, TRANSPARENCY = "selection", "transparency"


class TinySRUpscale(UpscaleNode):
    """Frames are enlarged and brought to size in small groups, and written into one result."""

    DESCRIPTION = (
        "Enlarges pictures with TinySR or any other upscale model, to the scale of the network or to any size. "
        "Batches, transparency and grey pictures are kept, and tiles leave no seams."
    )
    SEARCH_ALIASES = ("superres", "super resolution", "upscale", "enlarge", "upscale with model", "exact size")
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = (
        "The enlarged pictures, with as many channels as the input.",
        "The enlarged mask. If no mask is connected: where the pictures are transparent.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "upscale_model": MODEL_INPUT,
                "image": ("IMAGE", {"tooltip": "A picture, or a batch such as the frames of a video."}),
                **size_widgets(MODES),
                **run_widgets(),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "Enlarged with the picture. One mask serves all frames of a batch."}),
                "mask_is": (
                    [SELECTION, TRANSPARENCY],
                    {
                        "tooltip": "selection: the mask does not change the picture. transparency: for a cut-out from "
                        "Load Image. Colours that the mask hides leave no fringe."
                    },
                ),
                "match": ("IMAGE", {"tooltip": "For size match size: the picture whose size the result gets."}),
                "divisible_by": (
                    "INT",
                    {"default": 1, "min": 1, "max": 512}
                    | {
                        "tooltip": "Both sides become multiples of this; the rest is cropped evenly. 2 for videos; 8, "
                        "16 or 64 for models that need it."
                    },
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

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
            RequestError: the node does not accept a value.
            MemoryLimitError: there is too little memory.
        """
        upscaler, target = self.upscaler(upscale_model, device, precision, tile)
        upscaler, clean = upscaler.for_picture(image.movedim(-1, 1)[:, : 3 if image.shape[-1] > 2 else 1])
        enlarge = Enlarge(upscaler, target)
        batch, old_height, old_width, channels = image.shape
        matched = None if match is None else (match.shape[1], match.shape[2])
        request = SizeRequest(size, factor, width, height, megapixels, divisible_by, matched)
        sizing = request.sizing(old_height, old_width, upscaler.scale)
        beyond = enlarge.note(old_height, old_width, sizing)
        host.tell([str(note) for note in (clean, beyond) if note is not None], unique_id)
        working = enlarge.working_memory(old_height, old_width, channels, sizing, mask)
        result = host.new_image(batch, *sizing.kept, channels, working)

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

        start = 0
        for group in frames.cleaned(image, "image", enlarge.at_once(old_height, old_width, sizing)):
            stop = start + len(group)
            pixels, alpha = frames.split(group)
            if alpha is None and cut_outs is not None:
                alpha = cut_outs[[i % len(cut_outs) for i in range(start, stop)]].to(pixels.device)
            pixels, alpha = enlarge(pixels, alpha, sizing, partial(show, start, frames=len(group)))
            if alpha is not None:
                alpha = frames.settle(alpha)
                result_mask[start:stop] = 1 - alpha[:, 0]
            frames.write(result[start:stop], pixels, alpha)
            start = stop
        return result, result_mask if selection is None else selection[:, 0].to(result.device)
