"""From a picture to a better one: alpha, grey, the network, the wanted size, sharpening, anti-aliasing."""

import dataclasses

from .engines import Upscaler
from .images import Picture
from .postprocess import Finish, resize
from .util import Image, Progress, clamp_in_place

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
        RequestError: the arrays have other shapes.
        MemoryLimitError: memory does not suffice.
    """
    given = pixels
    size = finish.sides(pixels.shape[2], pixels.shape[3], upscaler.scale)
    pulse = _Pulse(progress)
    if alpha is not None:
        pixels = bleed(pixels, alpha)
        alpha = _resized(alpha, size, pulse.again)
    enlarges = size[0] > pixels.shape[2] or size[1] > pixels.shape[3]
    runs = enlarges or not upscaler.engine.only_enlarges
    factor = max(size[0] / pixels.shape[2], size[1] / pixels.shape[3])
    result = _resized(_enlarged(upscaler, pixels, factor, pulse.tell) if runs else pixels, size, pulse.again)
    # What was made here may be written over.
    return finish.apply(result, in_place=result is not given, progress=pulse.again), alpha


def enhance_picture(
    upscaler: Upscaler,
    picture: Picture,
    finish: Finish = UNCHANGED,
    *,
    progress: Progress | None = None,
) -> Picture:
    """`enhance` for a picture that knows its colour profile, EXIF and the like; the result knows them too."""
    pixels, alpha = enhance(upscaler, picture.pixels, picture.alpha, finish, progress=progress)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)


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


def _enlarged(upscaler: Upscaler, pixels: Image, factor: float, progress: Progress) -> Image:
    if pixels.shape[1] != 1:
        return upscaler.enlarge(pixels, factor, progress)
    result = upscaler.enlarge(pixels[:, [0, 0, 0]], factor, progress)
    return (result[:, 0:1] + result[:, 1:2] + result[:, 2:3]) / 3


def _resized(image: Image, size: tuple[int, int], progress: Progress) -> Image:
    """At `size`, in [0,1]: the kernel overshoots at edges."""
    if tuple(image.shape[2:]) == size:
        return image
    result = resize(image, *size, progress=progress)
    clamp_in_place(result)
    return result


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
