"""XMP packets: correct what depends on the picture's size or orientation, and copy the rest unchanged."""

import hashlib
from collections.abc import Iterable
from xml.parsers import expat

from .xmp_properties import Property, edited, groups, number_in, properties, value_of, with_namespaces, without

_ADOBE = "http://ns.adobe.com/"
_TIFF, _EXIF, _XMP = _ADOBE + "tiff/1.0/", _ADOBE + "exif/1.0/", _ADOBE + "xap/1.0/"
_NOTE, _HDR = _ADOBE + "xmp/note/", _ADOBE + "hdr-gain-map/1.0/"
_AREA, _DIMENSIONS = _ADOBE + "xmp/sType/Area#", _ADOBE + "xap/1.0/sType/Dimensions#"
_MICROSOFT_REGION = "http://ns.microsoft.com/photo/1.2/t/Region#"
_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_ITEM = _CONTAINER + "item/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

_WIDTHS = {(_TIFF, "ImageWidth"), (_EXIF, "PixelXDimension")}
_HEIGHTS = {(_TIFF, "ImageLength"), (_EXIF, "PixelYDimension")}
_ACROSS = {(_PANORAMA, name) for name in (
    "CroppedAreaImageWidthPixels", "FullPanoWidthPixels", "CroppedAreaLeftPixels",
    "LargestValidInteriorRectLeft", "LargestValidInteriorRectWidth",
)}  # fmt: skip
_DOWN = {(_PANORAMA, name) for name in (
    "CroppedAreaImageHeightPixels", "FullPanoHeightPixels", "CroppedAreaTopPixels",
    "LargestValidInteriorRectTop", "LargestValidInteriorRectHeight",
)}  # fmt: skip


def decoded(data: bytes) -> str:
    """The text of a packet, checked to be XML without a document type.

    Raises:
        ValueError: it is not well-formed, or has a document type.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding).rstrip("\0")

    def refuse(*_: object) -> None:
        raise ValueError("XMP with a document type")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    return text


def orientation(xmp: str) -> int | None:
    """The orientation that a packet states, 1 to 8; None where it states none."""
    for found in properties(xmp):
        if found.name == (_TIFF, "Orientation") and (value := value_of(xmp, found).strip()) in set("12345678"):
            return int(value)
    return None


def upright(xmp: str, orientation: int, height: int, width: int) -> str:
    """`xmp` for pixels that were turned upright, without thumbnails.

    Face regions are turned too: those of MWG, in coordinates of the stored pixels, and those of Microsoft.

    Args:
        orientation: that of the stored pixels, 1 to 8.
        height, width: those of the stored pixels.
    """
    found = list(properties(xmp))
    edits: list[tuple[int, int, str]] = []
    for one in found:
        if one.name == (_TIFF, "Orientation"):
            edits.append((*one.inner, "1"))
        elif one.name == (_XMP, "Thumbnails"):
            edits.append((one.start, one.end, ""))
        elif one.name == (_MICROSOFT_REGION, "Rectangle") and orientation != 1:
            numbers = [n for part in value_of(xmp, one).split(",") if (n := number_in(part)) is not None]
            if len(numbers) == 4:
                left, top, across, down = numbers
                x, y, across, down = _turned(orientation, left + across / 2, top + down / 2, across, down)
                edits.append((*one.inner, ", ".join(map(_plain, (x - across / 2, y - down / 2, across, down)))))
    if orientation != 1:
        for area in groups(found, _AREA):
            values = {key: number_in(value_of(xmp, one)) for key, one in area.items() if key != "unit"}
            pixels = "unit" in area and value_of(xmp, area["unit"]) == "pixel"
            x, y, across, down = (values.get(key) or 0.0 for key in "xywh")
            if pixels:
                x, across, y, down = x / width, across / width, y / height, down / height
            turned = _turned(orientation, x, y, across, down)
            if pixels:
                new_width, new_height = (width, height) if orientation < 5 else (height, width)
                turned = turned[0] * new_width, turned[1] * new_height, turned[2] * new_width, turned[3] * new_height
            edits += [
                (*area[key].inner, _plain(value)) for key, value in zip("xywh", turned, strict=True) if key in area
            ]
    return edited(xmp, edits)


def stamped(xmp: str, height: int, width: int, original: tuple[int, int]) -> str:
    """`xmp` with everything in pixels corrected for `height` x `width`; `original` is (height, width) before."""
    found = list(properties(xmp))
    down, across = height / original[0], width / original[1]
    edits: list[tuple[int, int, str]] = []
    for one in found:
        if one.name in _WIDTHS:
            edits.append((*one.inner, str(width)))
        elif one.name in _HEIGHTS:
            edits.append((*one.inner, str(height)))
        elif one.name in _ACROSS | _DOWN and (value := number_in(value_of(xmp, one))) is not None:
            edits.append((*one.inner, str(round(value * (across if one.name in _ACROSS else down)))))
    for area in groups(found, _AREA):
        if "unit" in area and value_of(xmp, area["unit"]) == "pixel":
            for key, factor in {"x": across, "w": across, "d": across, "y": down, "h": down}.items():
                if key in area and (value := number_in(value_of(xmp, area[key]))) is not None:
                    edits.append((*area[key].inner, _plain(value * factor)))
    for size in groups(found, _DIMENSIONS):
        if "unit" in size and value_of(xmp, size["unit"]) == "pixel":
            edits += [(*size[key].inner, str(value)) for key, value in (("w", width), ("h", height)) if key in size]
    return edited(xmp, edits)


def without_gps(xmp: str) -> str:
    """`xmp` without the GPS location."""
    return without(xmp, lambda one: one.name[0] == _EXIF and one.name[1].startswith("GPS"))


def has_gain_map(xmp: str) -> bool:
    """Whether a packet says that a gain map follows the picture (Ultra HDR)."""
    return any(one.name == (_HDR, "Version") for one in properties(xmp))


def has_video(xmp: str) -> bool:
    """Whether a packet says that a video follows the picture (Google's motion photos)."""
    names = {(_CAMERA, "MotionPhoto"), (_CAMERA, "MicroVideo")}
    return any(one.name in names and value_of(xmp, one).strip() == "1" for one in properties(xmp))


def without_parts(xmp: str) -> str:
    """`xmp` that announces no gain map and no video after the picture."""
    names = {(_HDR, "Version"), (_CONTAINER, "Directory"), (_CAMERA, "MotionPhoto"), (_CAMERA, "MicroVideo")}
    return without(xmp, lambda one: one.name in names)


def with_map_length(xmp: str, length: int) -> str:
    """`xmp` whose list of file parts (Google's container) states `length` bytes for the gain map."""
    edits: list[tuple[int, int, str]] = []
    for item in groups(list(properties(xmp)), _ITEM):
        if "Semantic" in item and value_of(xmp, item["Semantic"]) == "GainMap" and "Length" in item:
            edits.append((*item["Length"].inner, str(length)))
    return edited(xmp, edits)


def extension_name(xmp: str) -> str | None:
    """The name of the extended packet that `xmp` links to; None where it links to none."""
    return next((value_of(xmp, one).strip() for one in properties(xmp) if one.name == (_NOTE, "HasExtendedXMP")), None)


def merged(xmp: str, extended: str) -> str:
    """The packet that a JPEG has split into `xmp` and `extended` (XMP specification, part 3, 1.1.3.1)."""
    blocks = [with_namespaces(extended, block) for block in _descriptions(extended)]
    for one in properties(xmp):
        if one.name == (_RDF, "RDF"):
            joined = xmp[: one.inner[1]] + "".join(blocks) + xmp[one.inner[1] :]
            return without(joined, lambda other: other.name == (_NOTE, "HasExtendedXMP"))
    return xmp


def split(xmp: str, limit: int) -> tuple[str, str | None]:
    """A packet of at most `limit` bytes, and an extended packet with the rest; None where there is no rest."""
    if len(xmp.encode()) <= limit:
        return xmp, None
    blocks = [with_namespaces(xmp, block) for block in _descriptions(xmp)]
    first: list[str] = []
    room = limit - len(_packet([]).encode()) - 200  # for the link to the rest
    while blocks and len(blocks[0].encode()) <= room:
        room -= len(blocks[0].encode())
        first.append(blocks.pop(0))
    rest = _packet(blocks)
    link = f'<rdf:Description rdf:about="" xmlns:xmpNote="{_NOTE}" xmpNote:HasExtendedXMP="{identifier(rest)}"/>'
    return _packet([*first, link]), rest


def identifier(extended: str) -> str:
    """The name under which a JPEG links to an extended packet: its MD5 sum."""
    return hashlib.md5(extended.encode(), usedforsecurity=False).hexdigest().upper()


def _packet(blocks: Iterable[str]) -> str:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{"".join(blocks)}</rdf:RDF></x:xmpmeta>'


def _descriptions(xmp: str) -> list[Property]:
    """The blocks of a packet: rdf:Description directly in rdf:RDF."""
    found = [one for one in properties(xmp) if one.is_element]
    roots = [one.start for one in found if one.name == (_RDF, "RDF")]
    return [one for one in found if one.name == (_RDF, "Description") and one.inside and one.inside[-1] in roots]


def _turned(orientation: int, x: float, y: float, across: float, down: float) -> tuple[float, float, float, float]:
    """Centre and sides of a rectangle in the upright picture, from those in the stored one; all as shares of sides."""
    centres = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }
    return (*centres.get(orientation, (x, y)), *((across, down) if orientation < 5 else (down, across)))


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
