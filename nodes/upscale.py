"""*TinySR Upscale*: any UPSCALE_MODEL on a batch of frames, to any size."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..tinysr_core.engines import Upscaler, inference
from ..tinysr_core.errors import MemoryLimitError
from ..tinysr_core.folders import Work
from ..tinysr_core.pipeline import enhance
from ..tinysr_core.postprocess import ExactSize, Finish, resize
from ..tinysr_core.util import Progress
from . import frames, host
from .engine import PRECISIONS, CpuEngine, SpandrelEngine, foreign_memory, upscaler_for
from .size import MODES, SizeRequest, Sizing
from .values import checked

SELECTION, TRANSPARENCY = "selection", "transparency"
RESIZES = ("cuda", "xpu", "mps")
"""Kinds of devices that resize frames; others leave it to the CPU."""


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
                        "stretch: exactly width by height. megapixels: that many million pixels. match size: as large "
                        "as the picture at match, cut off evenly. All but stretch keep the proportions."
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
                    host.devices(),
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
    ) -> tuple[Tensor, Tensor]:
        """IMAGE [B,H,W,C], MASK [b,h,w] or [h,w] -> IMAGE [B,H',W',C], MASK [B,H',W'], [b,H',W'] or [1,H',W'].

        Raises:
            RequestError: a value is none that the node takes.
            MemoryLimitError: memory does not suffice.
        """
        target = host.device(device)
        upscaler = upscaler_for(upscale_model, target, precision, tile or None, self._cpu_engine)
        batch, old_height, old_width, channels = image.shape
        matched = None if match is None else (match.shape[1], match.shape[2])
        request = SizeRequest(size, factor, width, height, megapixels, divisible_by, matched)
        sizing = request.sizing(old_height, old_width, upscaler.scale)
        result = host.new_image(batch, *sizing.kept, channels, _working_memory(upscaler, image, mask, sizing))

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

        finish = Finish(size=ExactSize(sizing.width, sizing.height))
        resized = (sizing.height, sizing.width) != (old_height * upscaler.scale, old_width * upscaler.scale)
        enlarge = _Enlarge(upscaler, finish, target if resized and target.type in RESIZES else None)
        for i, frame in enumerate(frames.cleaned(image, "image")):
            pixels, alpha = frames.split(frame)
            if alpha is None and cut_outs is not None:
                alpha = cut_outs[[i % len(cut_outs)]].to(pixels.device)
            pixels, alpha = enlarge(pixels, alpha, partial(show, i))
            if alpha is not None:
                alpha = frames.settle(sizing.crop(alpha))
                result_mask[i] = 1 - alpha[0, 0]
            frames.write(result[i], sizing.crop(pixels), alpha)
        return result, result_mask if selection is None else selection[:, 0].to(result.device)


class _Enlarge:
    """Runs `enhance` on frames, on a GPU as a whole where it has room, since a resize takes longer on the CPU."""

    def __init__(self, upscaler: Upscaler, finish: Finish, device: torch.device | None) -> None:
        """`device`: the GPU for whole frames; None: frames stay where they are, and only tiles are moved."""
        self._upscaler = upscaler
        self._finish = finish
        self._device = device

    def __call__(self, pixels: Tensor, alpha: Tensor | None, progress: Progress) -> tuple[Tensor, Tensor | None]:
        if self._device is not None:
            try:
                with inference():
                    moved = None if alpha is None else alpha.to(self._device)
                    return enhance(self._upscaler, pixels.to(self._device), moved, self._finish, progress=progress)
            except (MemoryError, MemoryLimitError):
                host.warn(f"Whole frames do not fit on {self._device}; they are resized on the CPU.")
                self._device = None
        return enhance(self._upscaler, pixels, alpha, self._finish, progress=progress)


def _working_memory(upscaler: Upscaler, image: Tensor, mask: Tensor | None, sizing: Sizing) -> int:
    """Bytes of main memory that one frame, or the masks, take at most while they are enlarged."""
    height, width, channels = image.shape[1:]
    foreign = isinstance(upscaler.engine, SpandrelEngine)
    work = Work(
        height=height,
        width=width,
        colours=1 if channels < 3 else 3,
        alpha=mask is not None or channels in (2, 4),
        scale=upscaler.scale,
        result_height=sizing.height,
        result_width=sizing.width,
        post_processing=False,
        tile=upscaler.tile,
    )
    features = foreign_memory(min(upscaler.tile, max(height, width)), upscaler.scale) if foreign else 0
    masks = 0 if mask is None else 3 * 4 * mask.shape[:-2].numel() * max(sizing.height * sizing.width, height * width)
    return work.bytes_needed() + features + masks
