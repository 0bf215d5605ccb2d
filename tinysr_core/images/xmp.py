"""XMP packets, patched in place: what speaks of the picture's size or orientation is corrected, the rest is copied.

XMP is RDF in XML (ISO 16684-1). A property is an attribute or an element; both spellings are found here.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from xml.parsers import expat

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

_TOKEN = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|<(?P<close>/?)(?P<name>[^\s/>]+)"
    r"(?P<attributes>(?:[^>\"']|\"[^\"]*\"|'[^']*')*?)(?P<empty>/?)>",
    re.S,
)
_ATTRIBUTE = re.compile(r"([^\s=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_NUMBER = re.compile(r"-?\d+(\.\d*)?|-?\.\d+")


@dataclass(frozen=True)
class _Property:
    """An attribute, or an element."""

    name: tuple[str, str]
    """Namespace and local name."""
    start: int
    end: int
    """Where all of it lies in the packet, an attribute with the space before it."""
    inner: tuple[int, int]
    """Where its value lies; of an element: all between its tags."""
    inside: tuple[int, ...]
    """Starts of the elements around it, outermost first."""
    is_element: bool


def decoded(data: bytes) -> str:
    """The text of a packet, proven to be XML without a document type.

    Raises:
        ValueError: it is no such XML.
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
    """The orientation that a packet states, 1..8; None where it states none."""
    for found in _properties(xmp):
        if found.name == (_TIFF, "Orientation") and (value := _value(xmp, found).strip()) in set("12345678"):
            return int(value)
    return None


def upright(xmp: str, turn: int, height: int, width: int) -> str:
    """`xmp` for pixels that were turned upright from `height` x `width` by orientation `turn`; its thumbnails dropped.

    Face regions (MWG, in coordinates of the stored pixels, and Microsoft's) are turned too.
    """
    found = list(_properties(xmp))
    edits: list[tuple[int, int, str]] = []
    for one in found:
        if one.name == (_TIFF, "Orientation"):
            edits.append((*one.inner, "1"))
        elif one.name == (_XMP, "Thumbnails"):
            edits.append((one.start, one.end, ""))
        elif one.name == (_MICROSOFT_REGION, "Rectangle") and turn != 1:
            numbers = [float(number) for number in _value(xmp, one).split(",") if _NUMBER.fullmatch(number.strip())]
            if len(numbers) == 4:
                left, top, across, down = numbers
                x, y, across, down = _turned(turn, left + across / 2, top + down / 2, across, down)
                edits.append((*one.inner, ", ".join(map(_plain, (x - across / 2, y - down / 2, across, down)))))
    if turn != 1:
        for area in _groups(found, _AREA):
            values = {key: _number(xmp, one) for key, one in area.items() if key != "unit"}
            pixels = "unit" in area and _value(xmp, area["unit"]) == "pixel"
            x, y, across, down = (values.get(key) or 0.0 for key in "xywh")
            if pixels:
                x, across, y, down = x / width, across / width, y / height, down / height
            turned = _turned(turn, x, y, across, down)
            if pixels:
                new_width, new_height = (width, height) if turn < 5 else (height, width)
                turned = turned[0] * new_width, turned[1] * new_height, turned[2] * new_width, turned[3] * new_height
            edits += [
                (*area[key].inner, _plain(value)) for key, value in zip("xywh", turned, strict=True) if key in area
            ]
    return _edited(xmp, edits)


def stamped(xmp: str, height: int, width: int, original: tuple[int, int]) -> str:
    """`xmp` with what is in pixels made true for `height` x `width`; `original` are the height and width before."""
    found = list(_properties(xmp))
    down, across = height / original[0], width / original[1]
    edits: list[tuple[int, int, str]] = []
    for one in found:
        if one.name in _WIDTHS:
            edits.append((*one.inner, str(width)))
        elif one.name in _HEIGHTS:
            edits.append((*one.inner, str(height)))
        elif one.name in _ACROSS | _DOWN and (value := _number(xmp, one)) is not None:
            edits.append((*one.inner, str(round(value * (across if one.name in _ACROSS else down)))))
    for area in _groups(found, _AREA):
        if "unit" in area and _value(xmp, area["unit"]) == "pixel":
            for key, factor in {"x": across, "w": across, "d": across, "y": down, "h": down}.items():
                if key in area and (value := _number(xmp, area[key])) is not None:
                    edits.append((*area[key].inner, _plain(value * factor)))
    for size in _groups(found, _DIMENSIONS):
        if "unit" in size and _value(xmp, size["unit"]) == "pixel":
            edits += [(*size[key].inner, str(value)) for key, value in (("w", width), ("h", height)) if key in size]
    return _edited(xmp, edits)


def without_gps(xmp: str) -> str:
    """`xmp` without the place where the picture was taken."""
    return _without(xmp, lambda one: one.name[0] == _EXIF and one.name[1].startswith("GPS"))


def has_gain_map(xmp: str) -> bool:
    """Whether a packet says that a gain map follows the picture (Ultra HDR)."""
    return any(one.name == (_HDR, "Version") for one in _properties(xmp))


def has_video(xmp: str) -> bool:
    """Whether a packet says that a video follows the picture (Google's motion photos)."""
    names = {(_CAMERA, "MotionPhoto"), (_CAMERA, "MicroVideo")}
    return any(one.name in names and _value(xmp, one).strip() == "1" for one in _properties(xmp))


def without_parts(xmp: str) -> str:
    """`xmp` that no longer says that a gain map or a video follows the picture."""
    names = {(_HDR, "Version"), (_CONTAINER, "Directory"), (_CAMERA, "MotionPhoto"), (_CAMERA, "MicroVideo")}
    return _without(xmp, lambda one: one.name in names)


def with_map_length(xmp: str, length: int) -> str:
    """`xmp` whose list of the file's parts (Google's container) says that the gain map has `length` bytes."""
    edits: list[tuple[int, int, str]] = []
    for item in _groups(list(_properties(xmp)), _ITEM):
        if "Semantic" in item and _value(xmp, item["Semantic"]) == "GainMap" and "Length" in item:
            edits.append((*item["Length"].inner, str(length)))
    return _edited(xmp, edits)


def extension_name(xmp: str) -> str | None:
    """The name of the extended packet that `xmp` links to, if it does."""
    return next((_value(xmp, one).strip() for one in _properties(xmp) if one.name == (_NOTE, "HasExtendedXMP")), None)


def merged(xmp: str, extended: str) -> str:
    """One packet of the two that a JPEG splits it into (XMP specification, part 3, 1.1.3.1)."""
    blocks = [_with_namespaces(extended, block) for block in _descriptions(extended)]
    for one in _properties(xmp):
        if one.name == (_RDF, "RDF"):
            joined = xmp[: one.inner[1]] + "".join(blocks) + xmp[one.inner[1] :]
            return _without(joined, lambda other: other.name == (_NOTE, "HasExtendedXMP"))
    return xmp


def split(xmp: str, limit: int) -> tuple[str, str | None]:
    """A packet of at most `limit` bytes, and an extended one that holds the rest, if any."""
    if len(xmp.encode()) <= limit:
        return xmp, None
    blocks = [_with_namespaces(xmp, block) for block in _descriptions(xmp)]
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


def _properties(xmp: str) -> Iterator[_Property]:
    """All attributes and elements, each when it ends. `xmp` is well-formed."""
    spaces: list[dict[str, str]] = [{}]
    opened: list[tuple[tuple[str, str], int, int]] = []  # name, start, end of the opening tag
    for token in _TOKEN.finditer(xmp):
        if token["name"] is None:
            continue
        inside = tuple(start for _, start, _ in opened)
        if token["close"]:
            name, start, inner = opened.pop()
            spaces.pop()
            yield _Property(name, start, token.end(), (inner, token.start()), inside[:-1], True)
            continue
        attributes = list(_ATTRIBUTE.finditer(xmp, *token.span("attributes")))
        values = {match[1]: match[2] if match[2] is not None else match[3] for match in attributes}
        scope = spaces[-1] | {key.partition(":")[2]: uri for key, uri in values.items() if key.split(":")[0] == "xmlns"}
        for match in attributes:
            prefix, colon, local = match[1].rpartition(":")
            if colon and prefix != "xmlns":
                place = match.span(2) if match[2] is not None else match.span(3)
                start = match.start() - (xmp[match.start() - 1].isspace())
                yield _Property(
                    (scope.get(prefix, ""), local), start, match.end(), place, (*inside, token.start()), False
                )
        prefix, _, local = token["name"].rpartition(":")
        name = scope.get(prefix, ""), local
        if token["empty"]:
            yield _Property(name, token.start(), token.end(), (token.end(), token.end()), inside, True)
        else:
            opened.append((name, token.start(), token.end()))
            spaces.append(scope)


def _groups(found: Iterable[_Property], namespace: str) -> list[dict[str, _Property]]:
    """Properties of `namespace` by local name, those of one structure together.

    All fields of a structure are attributes of one element, or are elements in one.
    """
    groups: dict[int, dict[str, _Property]] = {}
    for one in found:
        if one.name[0] == namespace and one.inside:
            groups.setdefault(one.inside[-1], {})[one.name[1]] = one
    return list(groups.values())


def _descriptions(xmp: str) -> list[_Property]:
    """The blocks that a packet consists of: rdf:Description directly in rdf:RDF."""
    found = [one for one in _properties(xmp) if one.is_element]
    roots = [one.start for one in found if one.name == (_RDF, "RDF")]
    return [one for one in found if one.name == (_RDF, "Description") and one.inside and one.inside[-1] in roots]


def _with_namespaces(xmp: str, block: _Property) -> str:
    """The text of `block` with the prefixes that the elements around it declare."""
    text = xmp[block.start : block.end]
    head = text[: text.index(">") + 1]
    around: dict[str, str] = {}
    for start in block.inside:
        token = _TOKEN.match(xmp, start)
        if token is not None:
            around |= {
                m[1]: m[2] or m[3] or "" for m in _ATTRIBUTE.finditer(token["attributes"]) if m[1].startswith("xmlns")
            }
    missing = "".join(f' {key}="{uri}"' for key, uri in around.items() if f"{key}=" not in head)
    return re.sub(r"^<[^\s/>]+", lambda match: match[0] + missing, text, count=1)


def _without(xmp: str, unwanted: Callable[[_Property], bool]) -> str:
    return _edited(xmp, [(one.start, one.end, "") for one in _properties(xmp) if unwanted(one)])


def _edited(xmp: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """`xmp` with each (start, end) replaced; what lies in something that was replaced already is passed over."""
    parts: list[str] = []
    at = 0
    for start, end, text in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if start >= at:
            parts += [xmp[at:start], text]
            at = end
    return "".join([*parts, xmp[at:]])


def _turned(turn: int, x: float, y: float, across: float, down: float) -> tuple[float, float, float, float]:
    """Centre and sides of a rectangle, as shares of the stored sides, in the upright picture."""
    places = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }
    return (*places.get(turn, (x, y)), *((across, down) if turn < 5 else (down, across)))


def _value(xmp: str, one: _Property) -> str:
    return xmp[slice(*one.inner)]


def _number(xmp: str, one: _Property) -> float | None:
    text = _value(xmp, one).strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
