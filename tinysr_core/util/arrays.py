"""Code that works on numpy arrays and torch tensors alike. Needs no torch."""

from typing import Any, TypeVar

import numpy as np

Image = TypeVar("Image", bound=Any)
"""A numpy array or a torch tensor, [B,C,H,W]. A function that takes one returns the same kind, on the same device.

The core uses only what both have: operators, slicing, `shape` and `clip`. No common type describes just that.
"""


def crop_mirrored(image: Any, rows: slice, columns: slice) -> Any:
    """The part of `image` [B,C,H,W] in `rows` and `columns`, which may reach beyond its edges.

    Beyond an edge the picture is mirrored, as numpy's `pad` does in mode "symmetric". A part inside is a view, no copy.
    """
    height, width = image.shape[2:]
    top, left = max(0, rows.start), max(0, columns.start)
    part = image[:, :, top : rows.stop, left : columns.stop]
    if rows.start < 0 or rows.stop > height:
        part = part[:, :, _mirrored(rows, height, image) - top]
    if columns.start < 0 or columns.stop > width:
        part = part[:, :, :, _mirrored(columns, width, image) - left]
    return part


def _mirrored(places: slice, length: int, image: Any) -> Any:
    """The indices for `places` along an axis of `length`, on the device of `image`, so that nothing is copied there."""
    if isinstance(image, np.ndarray):
        indices: Any = np.arange(places.start, places.stop)
    else:
        import torch

        indices = torch.arange(places.start, places.stop, device=image.device)
    last = 2 * length - 1  # behind it, the picture begins again
    return (last - abs(2 * (indices % (last + 1)) - last)) // 2


def clamp_in_place(image: Any, highest: float = 1) -> None:
    """Clamp to [0,`highest`] without a copy. Only for arrays that the caller made itself."""
    if isinstance(image, np.ndarray):
        np.clip(image, 0, highest, out=image)
    else:
        image.clamp_(0, highest)


def all_finite(image: Any) -> Any:
    """Whether no value is NaN or infinite: a bool; a tensor for a tensor, so that nothing waits for a GPU."""
    # The sum is finite exactly if every value is: pixels are far too small to overflow it.
    if not isinstance(image, np.ndarray):
        return image.sum().isfinite()
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(image.sum()))
