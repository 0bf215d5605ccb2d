"""Upscale a picture with everything that belongs to it: alpha, grey, size, sharpening, anti-aliasing."""

import dataclasses

from ..engines import Upscaler
from ..errors import MemoryLimitError, RequestError
from ..images import Picture, jpeg_quality
from ..postprocess import ExactSize, Finish, resize
from ..util import Image, Progress, Work, available_bytes, clamp_in_place

ACCEPTED_RANGE = -1, 2
"""Range of input values that are accepted. It leaves room for the overshoot of other filters; what lies beyond is a
mistake, such as 8-bit pixels."""
FLAT_REACH = 2
"""Reach of bicubic enlargement in pixels: a pixel whose neighbours up to here are equal to it is flat in the result."""
UNCHANGED = Finish()
"""The network's scale, and no post-processing."""


def enhance(
    upscaler: Upscaler,
    pixels: Image,
    alpha: Image | None = None,
    finish: Finish = UNCHANGED,
    *,
    progress: Progress | None = None,
) -> tuple[Image, Image | None]:
    """Upscale pictures with everything that belongs to them.

    Args:
        pixels: [B,3,H,W], or [B,1,H,W] for grey ones, float32 in [0,1]; numpy array or torch tensor. Not written to.
        alpha: [B,1,H,W] in [0,1], or None for opaque pictures.
        finish: the size of the result, reached by one antialiased resize, and the steps that follow. If neither side
            grows, a network that only enlarges is skipped.
        progress: called with the number of tiles done, and the total; during other steps it is called again with the
            same numbers. An exception that it raises cancels the work.

    Returns:
        The pixels and the alpha, in [0,1], of the same kind as the input. Grey input gives grey output.

    Raises:
        RequestError: an array has another shape or is not floating point, or holds NaN or values far outside [0,1].
        MemoryLimitError: there is too little memory.
    """
    _check_arrays(pixels, alpha)
    given, mask_upscaler = pixels, upscaler
    size = finish.sides(pixels.shape[2], pixels.shape[3], upscaler.scale)
    upscaler, _ = upscaler.for_picture(pixels)
    _check_memory(upscaler, pixels, alpha, finish, size)
    tile_progress = _TileProgress(progress)
    if alpha is not None:
        pixels = bleed(pixels, alpha)
        alpha = enhance_mask(mask_upscaler, alpha, size, progress=tile_progress.repeat)
    result = pixels
    if size[0] > pixels.shape[2] or size[1] > pixels.shape[3] or not upscaler.engine.only_enlarges:
        result = _enlarged(upscaler, pixels, size, tile_progress.report)
    result = _resized(result, size, tile_progress.repeat)
    # An array made here may be overwritten, the caller's may not.
    return finish.apply(result, in_place=result is not given, progress=tile_progress.repeat), alpha


def enhance_mask(upscaler: Upscaler, mask: Image, size: tuple[int, int], *, progress: Progress | None = None) -> Image:
    """Resize alpha or a mask to `size`; if neither side shrinks, with the network.

    The network sees the mask as a grey picture. Flat areas stay exactly flat, so that 0 and 1 stay 0 and 1: where all
    source pixels up to `FLAT_REACH` pixels away are equal, the result has their value.

    Args:
        mask: [B,1,H,W] in [0,1], numpy array or torch tensor. Not written to.
        size: (height, width) of the result.
        progress: called during the work. An exception that it raises cancels it.

    Returns:
        [B,1,height,width] in [0,1], of the same kind as the input.
    """
    if tuple(mask.shape[2:]) == size:
        return mask
    upscaler = upscaler.plain
    if size[0] < mask.shape[2] or size[1] < mask.shape[3] or not upscaler.engine.only_enlarges:
        return _resized(mask, size, progress)
    flat = _flat(mask)
    if bool(flat.all()):
        return _nearest(mask, size)
    result = _resized(_enlarged(upscaler, mask, size, progress), size, progress)
    flat = _nearest(flat, size)
    return result * ~flat + _nearest(mask, size) * flat


def enhance_picture(
    upscaler: Upscaler,
    picture: Picture,
    finish: Finish = UNCHANGED,
    *,
    progress: Progress | None = None,
) -> Picture:
    """`enhance` for a `Picture`; the result keeps its colour profile, EXIF and other metadata.

    The quality of a JPEG file is known here and helps an upscaler that was loaded with `clean="auto"`.
    """
    height, width = finish.sides(picture.height, picture.width, upscaler.scale)
    finish = dataclasses.replace(finish, size=ExactSize(width, height))
    upscaler, _ = upscaler.for_picture(picture.pixels, jpeg_quality(picture))
    pixels, alpha = enhance(upscaler, picture.pixels, picture.alpha, finish, progress=progress)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)


def _check_arrays(pixels: Image, alpha: Image | None) -> None:
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise RequestError(f"Pixels must be an array [batch, 3 or 1, height, width], not {list(pixels.shape)}.")
    batch, _, height, width = pixels.shape
    if alpha is not None and tuple(alpha.shape) != (batch, 1, height, width):
        raise RequestError(f"The alpha of these pixels must be {[batch, 1, height, width]}, not {list(alpha.shape)}.")
    for array in (pixels, alpha):
        if array is not None and "float" not in str(array.dtype):
            raise RequestError(f"Pixels must be float32 in [0, 1], not {array.dtype}; divide 8-bit pixels by 255.")
        if array is not None:
            lowest, highest = float(array.min()), float(array.max())
            if not ACCEPTED_RANGE[0] <= lowest <= highest <= ACCEPTED_RANGE[1]:  # false for NaN too
                raise RequestError(f"Pixels must be in [0, 1], not {lowest:g} to {highest:g}.")


def _check_memory(
    upscaler: Upscaler, pixels: Image, alpha: Image | None, finish: Finish, size: tuple[int, int]
) -> None:
    """Raise MemoryLimitError if the work would not fit into the memory of this machine."""
    available = available_bytes() if str(getattr(pixels, "device", "cpu")) == "cpu" else None
    batch, colours, height, width = pixels.shape
    work = Work(height, width, colours, alpha is not None, upscaler.scale, *size, finish.steps, upscaler.tile)
    needed = work.bytes_needed() + 4 * (batch - 1) * colours * size[0] * size[1]
    if available is not None and needed > available:
        raise MemoryLimitError(
            f"A result of {size[1]} x {size[0]} pixels needs {needed:,} bytes of memory, and {available:,} are free."
            " Close other programs or ask for a smaller size."
        )


class _TileProgress:
    """Reports the network's tiles as progress, and repeats the last report during other steps so that they can be
    cancelled. Those steps take too little time to count as progress.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._last = 0, 1

    def report(self, done: int, total: int) -> None:
        """Report `done` of `total` tiles."""
        self._last = done, total
        if self._progress is not None:
            self._progress(done, total)

    def repeat(self, done: int, total: int) -> None:
        """Repeat the last report; the numbers of the other step are not used."""
        self.report(*self._last)


def _enlarged(upscaler: Upscaler, image: Image, size: tuple[int, int], progress: Progress | None) -> Image:
    """Enlarge by as many networks as it takes to come near `size`; grey stays grey."""
    factor = max(size[0] / image.shape[2], size[1] / image.shape[3])
    if image.shape[1] != 1:
        return upscaler.enlarge(image, factor, progress)
    result = upscaler.enlarge(image[:, [0, 0, 0]], factor, progress)
    return (result[:, 0:1] + result[:, 1:2] + result[:, 2:3]) / 3


def _resized(image: Image, size: tuple[int, int], progress: Progress | None) -> Image:
    """Resize to `size` and clamp to [0,1], because the kernel overshoots at edges."""
    if tuple(image.shape[2:]) == size:
        return image
    result = resize(image, *size, progress=progress)
    clamp_in_place(result)
    return result


def _flat(mask: Image) -> Image:
    """Where all pixels up to `FLAT_REACH` pixels away have the same value: bool [B,1,H,W]."""
    height, width = mask.shape[2:]
    offsets = [offset for offset in range(-FLAT_REACH, FLAT_REACH + 1) if offset]
    flat = mask == mask
    for offset in offsets:
        columns = [min(max(x + offset, 0), width - 1) for x in range(width)]
        flat = flat & (mask[:, :, :, columns] == mask)
    in_rows = flat
    for offset in offsets:
        rows = [min(max(y + offset, 0), height - 1) for y in range(height)]
        flat = flat & in_rows[:, :, rows] & (mask[:, :, rows] == mask)
    return flat


def _nearest(image: Image, size: tuple[int, int]) -> Image:
    """Nearest-neighbour enlargement."""
    height, width = image.shape[2:]
    rows = [(2 * y + 1) * height // (2 * size[0]) for y in range(size[0])]
    columns = [(2 * x + 1) * width // (2 * size[1]) for x in range(size[1])]
    return image[:, :, rows][:, :, :, columns]


def bleed(pixels: Image, alpha: Image) -> Image:
    """Give transparent pixels the colour of the visible ones around them.

    Colours under full transparency are arbitrary, often black, and the network would draw them into the visible edge. A
    pyramid of halved pictures holds the mean visible colour of larger and larger blocks. Each transparent pixel takes
    the colour of the smallest block around it that has visible pixels.
    """
    visible = alpha > 0
    if bool(visible.all()) or max(alpha.shape[2:]) == 1:
        return pixels
    weight = _halved(alpha)
    colour = _halved(pixels * alpha) / weight.clip(1e-12, None)
    around = bleed(colour, weight)[:, :, _doubled(alpha.shape[2])][:, :, :, _doubled(alpha.shape[3])]
    return pixels * visible + around * ~visible


def _halved(image: Image) -> Image:
    """Means of 2x2 blocks; at an odd edge the last row or column counts twice."""
    height, width = image.shape[2:]
    rows = [min(y, height - 1) for y in range(height + height % 2)]
    columns = [min(x, width - 1) for x in range(width + width % 2)]
    even = image[:, :, rows][:, :, :, columns]
    return (even[:, :, 0::2, 0::2] + even[:, :, 1::2, 0::2] + even[:, :, 0::2, 1::2] + even[:, :, 1::2, 1::2]) / 4


def _doubled(length: int) -> list[int]:
    return [i // 2 for i in range(length)]
