"""Code for pictures that are numpy arrays or torch tensors. Imports no torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError


def require_picture(image: Any) -> None:
    """Check that `image` is a float array [B,C,H,W] with at least one pixel.

    Raises:
        RequestError: it is something else.
    """
    if image.ndim != 4 or 0 in image.shape or "float" not in str(image.dtype):
        raise RequestError(
            "Pictures must be float arrays [batch, channels, height, width] with at least one pixel, "
            f"not {image.dtype} {list(image.shape)}."
        )


def cut(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """Index of a range along one axis of an array."""
    return (*(slice(None),) * axis, slice(start, stop))


def single(image: Any) -> Any:
    """`image` in at least single precision: half precision is widened, other arrays are returned unchanged."""
    if isinstance(image, np.ndarray):
        return image.astype(np.float32) if image.itemsize < 4 else image
    return image.float() if image.element_size() < 4 else image


def constant(values: NDArray[np.float64], like: Any) -> Any:
    """`values` as an array of the kind and device of `like`, in at least single precision."""
    like = single(like[:0])
    return values.astype(like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(values)


def empty(like: Any, shape: tuple[int, ...]) -> Any:
    """An uninitialised array of the kind, device and precision of `like`."""
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)
