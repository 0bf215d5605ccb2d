"""ComfyUI's pictures and the core's: one frame [H,W,C] of an IMAGE against pixels and alpha [1,C,H,W]."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..tinysr_core.errors import RequestError
from . import host

ROUNDING = 1e-6
"""More than the rounding errors of a resize in float32."""


def cleaned(batch: Tensor, name: str) -> Iterator[Tensor]:
    """The frames of a batch, NaN in them as 0 and infinities as 0 or 1; one log line says in how many.

    One such number would otherwise make a whole picture NaN.
    """
    damaged = 0
    for frame in batch:
        if not torch.isfinite(frame.sum(dtype=torch.float32)):
            frame, damaged = frame.nan_to_num(nan=0, posinf=1, neginf=0), damaged + 1
        yield frame
    if damaged:
        host.warn(f"{damaged} of {len(batch)} frames of {name} had NaN or infinite values; they count as 0 or 1.")


def split(frame: Tensor) -> tuple[Tensor, Tensor | None]:
    """Frame [H,W,C] of any float dtype -> float32 pixels [1,1|3,H,W] and alpha [1,1,H,W] or None. Copies nothing twice.

    Raises:
        RequestError: the frame is neither grey nor RGB, with or without alpha.
    """
    channels = frame.shape[-1]
    if channels not in (1, 2, 3, 4):
        raise RequestError(f"This IMAGE has {channels} channels; TinySR takes grey or RGB, with or without alpha.")
    planes = frame.to(torch.float32).movedim(-1, 0)[None]
    if channels in (1, 3):
        return planes, None
    return planes[:, :-1], planes[:, -1:]


def mask_planes(mask: Tensor) -> Tensor:
    """MASK [b,h,w] or [h,w] -> float32 [b,1,h,w], without NaN and infinities."""
    planes = mask.to(torch.float32).reshape(-1, *mask.shape[-2:])
    return torch.stack(list(cleaned(planes, "mask")))[:, None]


def settle(alpha: Tensor) -> Tensor:
    """Alpha or mask in [0,1], exactly 0 or 1 where only the rounding of a resize keeps it from that.

    ComfyUI's SaveImage cuts off fractions: 0.9999998 would become level 254, and an opaque picture not quite opaque.
    """
    return alpha.masked_fill(alpha > 1 - ROUNDING, 1).masked_fill(alpha < ROUNDING, 0)


def write(target: Tensor, pixels: Tensor, alpha: Tensor | None) -> None:
    """Write pixels [1,1|3,H,W], and alpha [1,1,H,W] where there is room for it, into the frame `target` [H,W,C]."""
    colours = pixels.shape[1]
    target[..., :colours] = pixels[0].movedim(0, -1)
    if alpha is not None and target.shape[-1] > colours:
        target[..., colours:] = alpha[0].movedim(0, -1)
