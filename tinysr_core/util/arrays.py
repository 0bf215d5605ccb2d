"""The arrays that pictures travel in: numpy arrays or torch tensors, handled by the same code. Needs no torch."""

from typing import Any, TypeVar

import numpy as np

Image = TypeVar("Image", bound=Any)
"""A numpy array or a torch tensor, [B,C,H,W]; a function that takes one returns one of the same kind and device.

The two share operators, slicing, `shape` and `clip`, which is all that the core needs; no type covers just that.
"""


def continued(image: Any, rows: slice, columns: slice) -> Any:
    """Rows and columns of `image` [B,C,H,W]; beyond an edge the picture is mirrored, with the edge itself repeated.

    Copies only where the part goes beyond an edge.
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
    """The index in an axis of `length` for each of `places`, made on the device of `image`: no copy from the host."""
    if isinstance(image, np.ndarray):
        indices: Any = np.arange(places.start, places.stop)
    else:
        import torch

        indices = torch.arange(places.start, places.stop, device=image.device)
    last = 2 * length - 1  # behind it, the picture begins again
    return (last - abs(2 * (indices % (last + 1)) - last)) // 2


def clamp_in_place(image: Any, most: float = 1) -> None:
    """Clamp to [0,`most`] without a copy, for arrays that the caller has made itself."""
    if isinstance(image, np.ndarray):
        np.clip(image, 0, most, out=image)
    else:
        image.clamp_(0, most)


def all_finite(image: Any) -> Any:
    """Whether there is no NaN and no infinity: bool, or a tensor where `image` is one, so that a GPU need not wait."""
    # A sum is finite unless a value is not: pixels are far too small for it to overflow.
    if not isinstance(image, np.ndarray):
        return image.sum().isfinite()
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(image.sum()))
