"""Convert a Pillow picture of any mode to grey or RGB samples, with or without alpha."""

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from .picture import Bits, FloatArray, Note
from .source import BAND_ROWS, Source, unit_range

_Convert = Callable[[Image.Image], FloatArray]


def pillow_samples(image: Image.Image) -> Source:
    """The samples of a loaded picture. Palettes are expanded, a transparent colour becomes alpha, CMYK and Lab sRGB."""
    notes: list[Note] = []
    icc: bytes | None = image.info.get("icc_profile")
    bits: Bits = 8
    channels, convert = _plain(image, notes)
    if image.mode.startswith("I;16") or image.mode == "I":  # "I" is what older Pillow calls a 16-bit grey PNG
        bits = 16
        channels, convert = (2 if isinstance(image.info.get("transparency"), int) else 1), _sixteen_bit
    elif image.mode == "F":
        bits = 32
        channels, convert = 1, partial(_floating, notes=notes)
    elif image.mode in ("CMYK", "LAB"):
        srgb = _built_in("sRGB")
        channels, convert = 3, _to_srgb(image.mode, icc, srgb, notes)
        icc = srgb.tobytes()
    width, height = image.size

    def bands() -> Iterator[FloatArray]:
        for top in range(0, height, BAND_ROWS):
            yield convert(image.crop((0, top, width, min(top + BAND_ROWS, height))))

    return Source(height, width, channels, bits, bands(), icc, notes)


def _plain(image: Image.Image, notes: list[Note]) -> tuple[int, _Convert]:
    """The number of channels, and the conversion, of 8-bit modes that Pillow can expand."""
    transparent = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("P", "PA"):
        palette = np.reshape(image.getpalette() or [], (-1, 3))
        grey = bool((palette == palette[:, :1]).all())
    if image.mode == "RGBX":
        notes.append(Note("channels", "An extra channel that is not transparency was left out."))
    mode = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
    return len(mode), lambda band: _eight_bit(band if band.mode == mode else band.convert(mode))


def _eight_bit(band: Image.Image) -> FloatArray:
    values = np.asarray(band).astype(np.float32)
    values /= 255
    return np.reshape(values, (band.height, band.width, -1))


def _floating(band: Image.Image, notes: list[Note]) -> FloatArray:
    return unit_range(np.asarray(band, np.float32)[..., None], notes)


def _sixteen_bit(band: Image.Image) -> FloatArray:
    samples = np.asarray(band)[..., None]
    values = samples.astype(np.float32)
    values /= 65535
    invisible = band.info.get("transparency")
    if isinstance(invisible, int):
        values = np.concatenate([values, (samples != invisible).astype(np.float32)], axis=-1)
    return values


def _to_srgb(mode: str, icc: bytes | None, srgb: ImageCms.ImageCmsProfile, notes: list[Note]) -> _Convert:
    """The conversion of CMYK through the profile `icc`, or of Lab, which needs no profile."""
    try:
        profile = _built_in("LAB") if mode == "LAB" else ImageCms.ImageCmsProfile(BytesIO(icc or b""))
        transform = ImageCms.buildTransform(
            *(profile, srgb, mode, "RGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError):  # no profile, a damaged one, or one for other colours
        text = "CMYK without a usable profile was converted to sRGB by a simple formula; colours may differ."
        notes.append(Note("converted", text))
        return lambda band: _eight_bit(band.convert("RGB"))
    text = "Lab was converted to sRGB." if mode == "LAB" else "CMYK was converted to sRGB through its profile."
    notes.append(Note("converted", text))

    def convert(band: Image.Image) -> FloatArray:
        converted = ImageCms.applyTransform(band, transform)
        assert converted is not None  # None comes only with inPlace
        return _eight_bit(converted)

    return convert


def _built_in(name: Literal["sRGB", "LAB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name))
