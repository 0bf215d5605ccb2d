"""Converts between frames [n,H,W,C] of an IMAGE and what the core takes: pixels and alpha [n,C,H,W]."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..tinysr_core.errors import RequestError
from . import host

ROUNDING = 1e-6
"""More than the rounding errors of a resize in float32."""


def cleaned(batch: Tensor, name: str, at_once: int = 1) -> Iterator[Tensor]:
    """The frames of a batch in groups of at most `at_once`, with NaN replaced by 0 and infinities by 0 or 1.

    A single NaN would otherwise spread over the whole picture. One log line says how many frames had any.
    """
    damaged = 0
    for group in batch.split(at_once) if len(batch) else ():
        finite = torch.isfinite(group.flatten(1).sum(1, dtype=torch.float32))
        if not finite.all():
            group, damaged = group.nan_to_num(nan=0, posinf=1, neginf=0), damaged + int((~finite).sum())
        yield group
    if damaged:
        host.warn(f"{damaged} of {len(batch)} frames of {name} had NaN or infinite values; they count as 0 or 1.")


def split(frames: Tensor) -> tuple[Tensor, Tensor | None]:
    """Frames [n,H,W,C] of any float dtype -> float32 pixels [n,1|3,H,W] and alpha [n,1,H,W] or None.

    Copies only where the dtype changes.

    Raises:
        RequestError: the frames are neither grey nor RGB, with or without alpha.
    """
    channels = frames.shape[-1]
    if channels not in (1, 2, 3, 4):
        raise RequestError(f"This IMAGE has {channels} channels. Connect a grey or RGB image, with or without alpha.")
    planes = frames.to(torch.float32).movedim(-1, 1)
    if channels in (1, 3):
        return planes, None
    return planes[:, :-1], planes[:, -1:]


def mask_planes(mask: Tensor) -> Tensor:
    """MASK [b,h,w] or [h,w] -> float32 [b,1,h,w] without NaN and infinities."""
    planes = mask.to(torch.float32).reshape(-1, *mask.shape[-2:])
    return torch.cat(list(cleaned(planes, "mask")))[:, None]


def settle(alpha: Tensor) -> Tensor:
    """Alpha or mask in [0,1], with values set to 0 or 1 where only the rounding of a resize separates them from it.

    ComfyUI's SaveImage truncates: 0.9999998 would become level 254, and an opaque picture slightly transparent.
    """
    return alpha.masked_fill(alpha > 1 - ROUNDING, 1).masked_fill(alpha < ROUNDING, 0)


def write(target: Tensor, pixels: Tensor, alpha: Tensor | None) -> None:
    """Write pixels [n,1|3,H,W] into frames [n,H,W,C], and alpha [n,1,H,W] if these have a channel for it."""
    colours = pixels.shape[1]
    target[..., :colours] = pixels.movedim(1, -1)
    if alpha is not None and target.shape[-1] > colours:
        target[..., colours:] = alpha.movedim(1, -1)
