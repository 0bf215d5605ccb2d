"""One picture in one call: a file, a Pillow picture or an array."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .engines import Upscaler, load_upscaler
from .errors import RequestError
from .images import Keep, Picture, from_pil, read_picture, to_pil, write_picture
from .model import DEFAULT_NAME
from .pipeline import enhance_picture
from .postprocess import Factor, Finish, Size, result_size
from .util import Progress


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
        source: a picture file, a Pillow picture of any mode, or an array as imageio has them: [height, width] or
            [height, width, channels] with 1 to 4 channels (grey, grey and alpha, RGB, RGB and alpha), uint8, uint16, or
            floating point in [0,1].
        output: a file to write the result to, whole or not at all; its suffix says the format.
        model: a name that `tinysr models` lists, the path of a checkpoint, or what `load_upscaler` returns: load it
            once for many pictures.
        scale: how many times larger, 3.7 for example; None: the model's own.
        size: another way to say the size, `LongestSide(4096)` for example; see `tinysr_core.postprocess`.
        sharpen: sharpen the result with an unsharp mask.
        anti_alias: smooth jagged edges of the result.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        keep: which metadata the file has: "all", "none" or "no-gps".
        progress: called with the tiles done and their number; what it raises cancels.

    Returns:
        What came in: of a file a `Picture`, of a Pillow picture a Pillow picture of 8 bits, of an array an array of the
        same type and layout. Grey stays grey and alpha stays alpha.

    Raises:
        RequestError: the array has another shape or type; both a scale and a size are given; the size is impossible.
        PictureError: the file cannot be read or written.
        CheckpointError: the model is unknown or damaged.
        MemoryLimitError: memory does not suffice.

    Example:
        >>> upscale("examples/portrait.png", "large.jpg").width
        700
    """
    if scale is not None and size is not None:
        raise RequestError("A scale and a size ask for different things; give only one of them.")
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
            " `enhance` takes [batch, channels, height, width]."
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
    """The value of white in an array of this type."""
    if dtype.kind == "f":
        return 1
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return int(np.iinfo(dtype).max)
    raise RequestError(f"An array must be of uint8, uint16 or floating point, not {dtype}.")
