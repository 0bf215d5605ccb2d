"""From a picture to a better one: alpha, grey, the network, the wanted size, sharpening, anti-aliasing."""

import dataclasses

from .engines import Upscaler
from .errors import MemoryLimitError, RequestError
from .images import Picture, jpeg_quality
from .postprocess import Finish, resize
from .util import Image, Progress, Work, available_bytes, clamp_in_place

FAR_OUTSIDE = -1, 2
"""Values beyond these are a mistake, 8-bit pixels for example, and no overshoot of another filter."""
FLAT_REACH = 2
"""How far a bicubic enlargement sees: what is flat so far around a pixel is flat in the result."""
UNCHANGED = Finish()
"""The network's result as it is."""


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
        finish: the size of the result, reached by one antialiased resize, and the steps that follow. A network that
            only enlarges is left out where the size enlarges neither way.
        progress: called for each tile, and with the same numbers again while other steps go on; what it raises cancels.

    Returns:
        The pixels, grey where they came grey, and the alpha, in [0,1] and of the kind that went in.

    Raises:
        RequestError: the arrays have other shapes, are not of floating point, or hold NaN or values far outside [0,1].
        MemoryLimitError: memory does not suffice.
    """
    _check(pixels, alpha)
    given, masks = pixels, upscaler
    upscaler, _ = upscaler.for_picture(pixels)
    size = finish.sides(pixels.shape[2], pixels.shape[3], upscaler.scale)
    _refuse_what_does_not_fit(upscaler, pixels, alpha, finish, size)
    pulse = _Pulse(progress)
    if alpha is not None:
        pixels = bleed(pixels, alpha)
        alpha = enhance_mask(masks, alpha, size, progress=pulse.again)
    enlarges = size[0] > pixels.shape[2] or size[1] > pixels.shape[3]
    runs = enlarges or not upscaler.engine.only_enlarges
    result = _resized(_enlarged(upscaler, pixels, size, pulse.tell) if runs else pixels, size, pulse.again)
    # What was made here may be written over.
    return finish.apply(result, in_place=result is not given, progress=pulse.again), alpha


def enhance_mask(upscaler: Upscaler, mask: Image, size: tuple[int, int], *, progress: Progress | None = None) -> Image:
    """Bring alpha or a mask to `size`, through the network where that enlarges.

    The network takes the mask for a grey picture. What is flat stays exactly flat, so that 0 and 1 stay 0 and 1: a
    result takes the value of a source pixel whose neighbours, `FLAT_REACH` pixels around, all have the same value.

    Args:
        mask: [B,1,H,W] in [0,1], numpy array or torch tensor. Not written to.
        size: (height, width) of the result.
        progress: called while the work goes on; what it raises cancels.

    Returns:
        [B,1,height,width] in [0,1], of the kind that went in.
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
    """`enhance` for a picture that knows its colour profile, EXIF and the like; the result knows them too."""
    upscaler, _ = upscaler.for_picture(picture.pixels, jpeg_quality(picture))
    pixels, alpha = enhance(upscaler, picture.pixels, picture.alpha, finish, progress=progress)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)


def _check(pixels: Image, alpha: Image | None) -> None:
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise RequestError(f"Pixels must be an array [batch, 3 or 1, height, width], not {list(pixels.shape)}.")
    batch, _, height, width = pixels.shape
    if alpha is not None and tuple(alpha.shape) != (batch, 1, height, width):
        raise RequestError(f"The alpha of these pixels must be {[batch, 1, height, width]}, not {list(alpha.shape)}.")
    for array in (pixels, alpha):
        if array is not None and "float" not in str(array.dtype):
            raise RequestError(f"Pictures must be float32 in [0, 1], not {array.dtype}; divide 8-bit pixels by 255.")
        if array is not None:
            lowest, highest = float(array.min()), float(array.max())
            if not FAR_OUTSIDE[0] <= lowest <= highest <= FAR_OUTSIDE[1]:  # also where one of them is NaN
                raise RequestError(f"Pixels must be numbers in [0, 1], not {lowest:g} to {highest:g}.")


def _refuse_what_does_not_fit(
    upscaler: Upscaler, pixels: Image, alpha: Image | None, finish: Finish, size: tuple[int, int]
) -> None:
    """Raise MemoryLimitError where the work would not fit into this machine's memory."""
    available = available_bytes() if str(getattr(pixels, "device", "cpu")) == "cpu" else None
    batch, colours, height, width = pixels.shape
    work = Work(height, width, colours, alpha is not None, upscaler.scale, *size, finish.steps, upscaler.tile)
    needed = work.bytes_needed() + 4 * (batch - 1) * colours * size[0] * size[1]
    if available is not None and needed > available:
        raise MemoryLimitError(
            f"A result of {size[1]} x {size[0]} pixels needs {needed:,} bytes of memory, and {available:,} are free."
            " Close other programs or ask for a smaller size."
        )


class _Pulse:
    """Reports the tiles of the network; repeats the last report while other steps go on, so that they can be cancelled.

    Those steps take little time, so that they do not count as progress.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._last = 0, 1

    def tell(self, done: int, total: int) -> None:
        """Report `done` of `total` tiles."""
        self._last = done, total
        if self._progress is not None:
            self._progress(done, total)

    def again(self, done: int, total: int) -> None:
        """Report that a step of something else is done."""
        self.tell(*self._last)


def _enlarged(upscaler: Upscaler, image: Image, size: tuple[int, int], progress: Progress | None) -> Image:
    """Through as many networks as bring it near `size`; grey stays grey."""
    factor = max(size[0] / image.shape[2], size[1] / image.shape[3])
    if image.shape[1] != 1:
        return upscaler.enlarge(image, factor, progress)
    result = upscaler.enlarge(image[:, [0, 0, 0]], factor, progress)
    return (result[:, 0:1] + result[:, 1:2] + result[:, 2:3]) / 3


def _resized(image: Image, size: tuple[int, int], progress: Progress | None) -> Image:
    """At `size`, in [0,1]: the kernel overshoots at edges."""
    if tuple(image.shape[2:]) == size:
        return image
    result = resize(image, *size, progress=progress)
    clamp_in_place(result)
    return result


def _flat(mask: Image) -> Image:
    """Where all pixels up to `FLAT_REACH` away have the same value: [B,1,H,W] of bool."""
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
    """Enlarged by repeating pixels."""
    height, width = image.shape[2:]
    rows = [(2 * y + 1) * height // (2 * size[0]) for y in range(size[0])]
    columns = [(2 * x + 1) * width // (2 * size[1]) for x in range(size[1])]
    return image[:, :, rows][:, :, :, columns]


def bleed(pixels: Image, alpha: Image) -> Image:
    """Give transparent pixels the colour of the visible ones around them.

    What lies under full transparency is arbitrary, often black, and would be drawn into the visible edge. A pyramid of
    halved pictures holds the mean visible colour of ever larger blocks; the smallest block that has any is taken.
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
