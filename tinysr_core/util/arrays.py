"""The arrays that pictures travel in: numpy arrays or torch tensors, handled by the same code. Needs no torch."""

from typing import Any, TypeVar

import numpy as np

Image = TypeVar("Image", bound=Any)
"""A numpy array or a torch tensor, [B,C,H,W]; a function that takes one returns one of the same kind and device.

The two share operators, slicing, `shape` and `clip`, which is all that the core needs; no type covers just that.
"""


def clamp_in_place(image: Any, most: float = 1) -> None:
    """Clamp to [0,`most`] without a copy, for arrays that the caller has made itself."""
    if isinstance(image, np.ndarray):
        np.clip(image, 0, most, out=image)
    else:
        image.clamp_(0, most)
