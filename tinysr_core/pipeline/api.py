"""Upscale a file, a Pillow image or an array in one call."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..engines import Upscaler, load_upscaler
from ..errors import RequestError
from ..images import Keep, Picture, from_pil, read_picture, to_pil, write_picture
from ..model import DEFAULT_NAME
from ..postprocess import Factor, Finish, Size, result_size
from ..util import Progress
from .picture import enhance_picture


def upscale(
    source: str | Path | Image.Image | NDArray[Any],
    output: str | Path | None = None,
    *,
    model: str | Path | Upscaler = DEFAULT_NAME,
    scale: float | None = None,
    size: Size | None = None,
    sharpen: bool = False,
    anti_alias: bool = False,
    quality: int | None = None,
    keep: Keep = "all",
    progress: Progress | None = None,
) -> Any:
    """Upscale one picture.

    Args:
        source: a picture file, a Pillow image of any mode, or an array as imageio returns it: [height, width] or
            [height, width, channels] with 1 to 4 channels (grey, grey and alpha, RGB, RGB and alpha), uint8, uint16, or
            floating point in [0,1].
        output: the file to write; its suffix chooses the format. It is written completely or not at all.
        model: a name that `tinysr models` lists, the path of a checkpoint, or an upscaler from `load_upscaler`. Pass an
            upscaler to load the network once for many pictures.
        scale: the upscaling factor, for example 3.7; None: the model's own.
        size: the size of the result instead of a factor, such as `LongestSide(4096)`; see `tinysr_core.postprocess`.
        sharpen: whether to sharpen the result with an unsharp mask.
        anti_alias: whether to smooth jagged edges of the result.
        quality: 1 to 100, for JPEG, WebP and AVIF; None: the default of the format.
        keep: which metadata to write to the file: "all", "none" or "no-gps".
        progress: called with the number of tiles done, and the total. An exception that it raises cancels the work.

    Returns:
        The same kind as `source`: a `Picture` for a file, an 8-bit Pillow image for a Pillow image, an array of the
        same dtype and layout for an array. Grey stays grey, and alpha is kept.

    Raises:
        RequestError: the array has an unsupported shape or dtype, both a scale and a size are given, or the size is
            impossible.
        PictureError: the file cannot be read or written.
        CheckpointError: the model is unknown or damaged.
        MemoryLimitError: there is too little memory.

    Example:
        >>> upscale("examples/portrait.png", "large.jpg").width
        700
    """
    if scale is not None and size is not None:
        raise RequestError("A scale and a size are both given; give only one of them.")
    picture = _picture(source)
    wanted = size if scale is None else Factor(scale)
    factor = 2 if wanted is None else result_size(wanted, picture.height, picture.width).factor
    upscaler = model if isinstance(model, Upscaler) else load_upscaler(model, scale=factor)
    result = enhance_picture(upscaler, picture, Finish(wanted, sharpen, anti_alias), progress=progress)
    if output is not None:
        write_picture(result, output, quality=quality, keep=keep)
    if isinstance(source, Image.Image):
        return to_pil(result)
    return _as_array(result, source) if isinstance(source, np.ndarray) else result


def _picture(source: str | Path | Image.Image | NDArray[Any]) -> Picture:
    if isinstance(source, str | Path):
        return read_picture(source)
    if isinstance(source, Image.Image):
        return from_pil(source)
    array = source[..., None] if source.ndim == 2 else source
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise RequestError(
            f"An array must be [height, width] or [height, width, 1 to 4 channels], not {list(source.shape)};"
            " for [batch, channels, height, width], call `enhance`."
        )
    planes = (np.moveaxis(array, -1, 0)[None] / _white(source.dtype)).astype(np.float32)
    colours = 1 if array.shape[2] < 3 else 3
    alpha = planes[:, colours:] if array.shape[2] > colours else None
    return Picture(np.ascontiguousarray(planes[:, :colours]), alpha)


def _as_array(picture: Picture, like: NDArray[Any]) -> NDArray[Any]:
    planes = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha], 1)
    values = np.moveaxis(planes[0], 0, -1) * _white(like.dtype)
    if like.dtype.kind == "u":
        values = np.rint(values)
    return cast("NDArray[Any]", (values[..., 0] if like.ndim == 2 else values).astype(like.dtype))


def _white(dtype: np.dtype[Any]) -> int:
    """The value of white in an array of this dtype."""
    if dtype.kind == "f":
        return 1
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return int(np.iinfo(dtype).max)
    raise RequestError(f"An array must be uint8, uint16 or floating point, not {dtype}; convert it first.")
