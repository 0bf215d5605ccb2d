"""What a picture file says besides its pixels: EXIF, colour profile, resolution."""

from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from .source import DAMAGE

_LAYOUT_TAGS = frozenset(
    [*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, *range(317, 331), *range(332, 348)]
).union(range(512, 522), range(529, 533))
"""Tags of TIFF's main directory that describe how one file stores its pixels (strips, tiles, compression, bits)."""

_BLOCK_TAGS = frozenset([700, 33723, 34377, 34675, 37724, 50341])
"""Tags that hold a whole other kind of metadata: XMP, IPTC, Photoshop, the ICC profile, print image matching."""

_PROFILE_KINDS = {b"RGB ": "RGB", b"GRAY": "grey", b"CMYK": "CMYK", b"Lab ": "Lab"}

_NO_TEXT = frozenset(["compression", "Software", "XML:com.adobe.xmp", "Raw profile type exif"])
"""Strings in Pillow's `info` which are no text that somebody would miss, or are carried in another way."""

DAMAGED_EXIF = "The EXIF data is damaged and was left out."


def exif_of(image: Image.Image, notes: list[str]) -> Image.Exif:
    """EXIF of an opened picture, none and a sentence in `notes` where it is damaged."""
    try:
        exif = image.getexif()
    except DAMAGE:
        exif = Image.Exif()
    if image.info.get("exif") and not len(exif):
        notes.append(DAMAGED_EXIF)
    return exif


def orientation_of(exif: Image.Exif) -> int:
    """How the stored pixels have to be turned, 1..8 (EXIF 2.3, tag 0x0112); anything else counts as upright."""
    orientation = exif.get(Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def carried_exif(exif: Image.Exif) -> bytes | None:
    """The part of EXIF that is true of the picture, not of one file: upright, no thumbnail, no storage layout.

    Serialising drops the thumbnail directory; maker notes are kept as they are.
    """
    for tag in set(exif) & (_LAYOUT_TAGS | _BLOCK_TAGS):
        del exif[tag]
    if Base.Orientation in exif:
        exif[Base.Orientation] = 1
    return exif.tobytes() if len(exif) else None


def stamped_exif(carried: bytes | None, height: int, width: int, dpi: tuple[float, float] | None) -> Image.Exif:
    """EXIF for a file of `height` x `width` pixels: `carried` with the size and resolution tags made true."""
    exif = Image.Exif()
    exif.load(carried or b"")
    if IFD.Exif in exif:
        details = exif.get_ifd(IFD.Exif)
        details[Base.ExifImageWidth], details[Base.ExifImageHeight] = width, height
    if dpi is not None:
        exif[Base.XResolution], exif[Base.YResolution] = dpi
        exif[Base.ResolutionUnit] = 2  # inch
    return exif


def exif_tables(exif: Image.Exif) -> dict[int, Any]:
    """Main directory of `exif` by tag, the directories below it as dictionaries, ready for a TIFF directory."""
    tables: dict[int, Any] = dict(exif)
    for tag in (IFD.Exif, IFD.GPSInfo):
        if tag in exif:
            tables[tag] = dict(exif.get_ifd(tag))
    if IFD.Exif in tables and IFD.Interop in tables[IFD.Exif]:
        tables[IFD.Exif][IFD.Interop] = dict(exif.get_ifd(IFD.Interop))
    return tables


def resolution_of(info: dict[Any, Any], exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels per inch as the file's header, else its EXIF, says them."""
    stated = info.get("dpi")
    if stated is None and exif.get(Base.ResolutionUnit) in (2, 3):
        per_inch = 2.54 if exif[Base.ResolutionUnit] == 3 else 1.0
        stated = [float(exif.get(tag, 0)) * per_inch for tag in (Base.XResolution, Base.YResolution)]
    if stated is None:
        return None
    across, down = (float(value) for value in stated)
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def profile_kind(icc: bytes) -> str | None:
    """The colours a profile is for, from its header (ICC.1, 7.2): "RGB", "grey", "CMYK", "Lab" ...; None: damaged."""
    if len(icc) < 128 or icc[36:40] != b"acsp":
        return None
    return _PROFILE_KINDS.get(icc[16:20], icc[16:20].decode("ascii", "replace").strip())


def other_metadata(info: dict[Any, Any], exif: Image.Exif) -> list[str]:
    """Names of the metadata which the file has and a `Picture` has no place for."""
    found: list[str] = []
    if "xmp" in info or "XML:com.adobe.xmp" in info or 700 in exif:
        found.append("XMP")
    if "photoshop" in info or {33723, 34377} & set(exif):
        found.append("IPTC")
    if "comment" in info or any(isinstance(value, str) for key, value in info.items() if key not in _NO_TEXT):
        found.append("Text (comments, generation parameters)")
    return found
