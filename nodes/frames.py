"""ComfyUI's pictures and the core's: one frame [H,W,C] of an IMAGE against pixels and alpha [1,C,H,W]."""

import torch
from torch import Tensor

from ..tinysr_core.errors import RequestError

ROUNDING = 1e-6
"""More than the rounding errors of a resize in float32."""


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
