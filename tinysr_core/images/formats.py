"""What each file format can hold; the table in docs/formats.md is made from it."""

from dataclasses import dataclass, field
from typing import Literal

from .picture import Bits

Carried = Literal[
    "ICC profile", "colour tags", "HDR levels", "EXIF", "XMP", "IPTC", "text", "comments", "gain map", "resolution"
]  # fmt: skip
"""What a picture carries beside its samples."""

CARRIED: tuple[Carried, ...] = (
    "ICC profile", "colour tags", "HDR levels", "EXIF", "XMP", "IPTC", "text", "comments", "gain map", "resolution"
)  # fmt: skip

_EVERYWHERE: frozenset[Carried] = frozenset({"ICC profile", "EXIF", "XMP", "resolution"})
_PARAMETERS = "generation parameters, in EXIF"
_CONVERTED: dict[Carried, str] = {"colour tags": "as ICC profile", "text": _PARAMETERS}
_IN_AVIF: dict[Carried, str] = {"colour tags": "as nclx or ICC profile", "text": _PARAMETERS}


def _besides(*things: Carried) -> frozenset[Carried]:
    return frozenset((*_EVERYWHERE, *things))


_IN_PNG = _besides("colour tags", "HDR levels", "IPTC", "text", "comments")
_IN_JPEG = _besides("IPTC", "comments", "gain map")
_IN_TIFF = _besides("IPTC")
_IN_AVIF_FILE = _besides("colour tags", "HDR levels")
_IN_HEIC = _besides("colour tags", "HDR levels", "gain map")


@dataclass(frozen=True)
class Format:
    """What a file format can hold."""

    name: str
    suffixes: tuple[str, ...]
    channels: tuple[int, ...]
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    bits: tuple[Bits, ...] = (8,)
    holds: frozenset[Carried] = _EVERYWHERE
    """What is written unchanged. The rest is converted, or left out with a note."""
    converts: dict[Carried, str] = field(default_factory=dict[Carried, str])
    """What is written in another form -> that form, in words."""
    longest: int = 2**31 - 1
    """The longest side, in pixels."""


FORMATS = {
    "png": Format("PNG", (".png",), (1, 2, 3, 4), (8, 16), _IN_PNG),
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), (1, 3), (8,), _IN_JPEG, _CONVERTED, longest=65500),
    "webp": Format("WebP", (".webp",), (3, 4), converts=_CONVERTED, longest=16383),
    "tiff": Format("TIFF", (".tif", ".tiff"), (1, 2, 3, 4), (8, 16, 32), _IN_TIFF, _CONVERTED),
    "avif": Format("AVIF", (".avif",), (1, 3, 4), converts=_IN_AVIF, longest=65536),
    "bmp": Format("BMP", (".bmp",), (1, 3), holds=frozenset({"resolution"})),
}
"""The formats that can be written; the keys are the names that `write_picture` takes."""

READ: dict[str, frozenset[Carried]] = {
    "PNG": _IN_PNG,
    "JPEG": _IN_JPEG,
    "WebP": _EVERYWHERE,
    "TIFF": _IN_TIFF,
    "AVIF": _IN_AVIF_FILE,
    "HEIC": _IN_HEIC,
    "GIF": frozenset({"comments"}),
    "BMP": frozenset({"resolution"}),
}
"""What is read from a file of each format. A gain map by ISO 21496-1 in an AVIF or HEIC file (box tmap) is left out
with a note: libheif does not decode it."""


def markdown_table() -> str:
    """The table of formats and what they carry, for the documentation."""
    names = list(READ)
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    written = {kind.name: kind for kind in FORMATS.values()}
    for thing in CARRIED:
        cells: list[str] = []
        for name in names:
            kind = written.get(name)
            reads = thing in READ[name]
            writes = "" if kind is None else "kept" if thing in kind.holds else kind.converts.get(thing, "")
            cells.append({(True, "kept"): "kept", (True, ""): "read", (False, ""): ""}.get((reads, writes), writes))
        lines.append(f"| {thing} | {' | '.join(cells)} |")
    return "\n".join(lines)
