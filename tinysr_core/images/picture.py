"""The picture as it travels between a file and the network."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Bits = Literal[8, 16, 32]

NoteKind = Literal[
    "transparency", "bits", "range", "frames", "channels", "converted", "truncated", "exif", "xmp", "iptc", "text",
    "comments", "profile", "colour", "hdr levels", "gain map", "credentials", "video",
]  # fmt: skip


class Note(str):
    """One sentence about something that was converted or left out. Notes of one `kind` can be counted together."""

    __slots__ = ("kind",)

    kind: NoteKind

    def __new__(cls, kind: NoteKind, text: str) -> "Note":
        note = super().__new__(cls, text)
        note.kind = kind
        return note

    def __reduce__(self) -> tuple[type["Note"], tuple[NoteKind, str]]:
        return Note, (self.kind, str(self))


@dataclass(frozen=True)
class ColourTags:
    """The colour information of a file beside an ICC profile. Units and meaning are those of PNG's chunks."""

    cicp: tuple[int, int, int, int] | None = None
    """Colour primaries, transfer function, matrix (0: RGB), full range (1); codes of ITU-T H.273. Takes precedence."""
    srgb: int | None = None
    """Rendering intent, 0 to 3, of an sRGB picture."""
    gamma: int | None = None
    """Exponent of the encoding, times 100,000."""
    chromaticities: tuple[int, ...] | None = None
    """x and y of white, red, green and blue, times 100,000."""
    mastering_display: bytes | None = None
    """24 bytes: primaries, white point and luminance of the mastering display, as in PNG's mDCV."""
    light_level: bytes | None = None
    """8 bytes: maximum and mean light level, as in PNG's cLLI."""


NO_COLOUR_TAGS = ColourTags()


@dataclass(frozen=True)
class Text:
    """One text of a PNG, or a comment of a JPEG or GIF."""

    keyword: str
    """`COMMENT` for comments, which have no keyword in JPEG and GIF."""
    text: str
    language: str = ""
    """RFC 3066 tag, such as "en"; empty: not stated."""
    translated: str = ""
    """The keyword in that language."""


COMMENT = "Comment"


@dataclass(frozen=True)
class GainMap:
    """The map that turns a picture into its HDR version (ISO 21496-1, Ultra HDR, Apple)."""

    jpeg: bytes
    """The map as a JPEG file with its own metadata, as it was stored."""
    orientation: int
    """Orientation of the map as stored, 1 to 8 (EXIF 2.3, tag 0x0112)."""
    marker: bytes | None = None
    """The content of the APP2 segment that announces a gain map in the main picture (ISO 21496-1)."""


Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
"""How many chroma samples a JPEG keeps: all, half of each row, half of each row and column."""


@dataclass(frozen=True)
class JpegEncoding:
    """How a JPEG was compressed."""

    tables: tuple[tuple[int, ...], ...]
    """Quantisation tables for luma and chroma, 64 values each, row by row."""
    subsampling: Subsampling


@dataclass(frozen=True, eq=False)
class Picture:
    """One upright picture with all metadata of its file."""

    pixels: FloatArray
    """[1,3,H,W] or, for grey, [1,1,H,W] in [0,1]; non-linear, in the colour space of `colour` or `icc` (else sRGB)."""
    alpha: FloatArray | None = None
    """[1,1,H,W] in [0,1], 1 is opaque; not premultiplied."""
    icc: bytes | None = None
    """The ICC profile, of the same kind (RGB or grey) as `pixels`."""
    colour: ColourTags = NO_COLOUR_TAGS
    """The colour tags of the file."""
    exif: bytes | None = None
    """EXIF (a TIFF structure), as in the file except for the orientation (upright) and the thumbnail (removed)."""
    xmp: bytes | None = None
    """The XMP packet in UTF-8, joined where a JPEG splits it; regions and orientation are upright too."""
    iptc: bytes | None = None
    """Photoshop image resources (8BIM): IPTC captions and keywords, copyright flag, clipping paths."""
    text: tuple[Text, ...] = ()
    """Texts of a PNG (generation parameters, for example) and comments, in the order of the file."""
    gain_map: GainMap | None = None
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontal and vertical."""
    bits: Bits = 8
    """Bits per channel of the file: 8, 16, or 32 for floating point. Files are written with as many if they can."""
    jpeg: JpegEncoding | None = None
    """How the file was compressed, if it was a JPEG."""
    original_size: tuple[int, int] | None = None
    """(height, width) that `xmp` and `gain_map` refer to: those of the upright file. None: those of `pixels`."""
    notes: tuple[Note, ...] = ()
    """What was converted or left out while reading, one sentence each."""

    @property
    def height(self) -> int:
        return self.pixels.shape[-2]

    @property
    def width(self) -> int:
        return self.pixels.shape[-1]

    @property
    def grey(self) -> bool:
        return self.pixels.shape[1] == 1
