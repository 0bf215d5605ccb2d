"""What a picture file says besides its pixels, before and after its picture is turned upright."""

from dataclasses import dataclass, field

from . import exif as exif_data
from . import photoshop
from . import xmp as xmp_data
from .picture import NO_COLOUR_TAGS, ColourTags, GainMap, Note, Text
from .tiff import Tiff

_PROFILE_KINDS = {b"RGB ": "RGB", b"GRAY": "grey", b"CMYK": "CMYK", b"Lab ": "Lab"}

MOST_DPI = 65535
"""A JPEG holds no larger resolution (JFIF, 16 bits), and no device has one: the header is damaged."""


@dataclass
class Stored:
    """What a file says, before its picture is turned upright."""

    exif: bytes | None = None
    xmp: str | None = None
    iptc: bytes | None = None
    text: list[Text] = field(default_factory=list[Text])
    colour: ColourTags = NO_COLOUR_TAGS
    gain_map: bytes | None = None
    """A JPEG file."""
    gain_map_marker: bytes | None = None
    gain_map_xmp: bytes | None = None
    """The XMP packet of the gain map of a HEIC file."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch that the file states outside EXIF."""
    orientation: int | None = None
    """The orientation, 1 to 8, where neither EXIF nor XMP states it."""
    decoded_upright: bool = False
    """Whether the decoder has applied the orientation to the samples."""
    notes: list[Note] = field(default_factory=list[Note])

    def set_exif(self, data: bytes) -> None:
        """Store EXIF data, with or without the prefix of JPEG; add a note if it is damaged."""
        data = exif_data.split_prefix(data)
        try:
            exif_data.orientation(data)
        except ValueError:
            self.notes.append(Note("exif", "The EXIF data is damaged and was left out."))
        else:
            self.exif = data

    def set_xmp(self, data: bytes) -> None:
        """Store an XMP packet; add a note if it is damaged."""
        try:
            self.xmp = xmp_data.decoded(data)
        except ValueError:
            self.notes.append(Note("xmp", "The XMP metadata is damaged and was left out."))

    def decoded_orientation(self) -> int:
        """The orientation of the decoded samples, 1 to 8 (EXIF 2.3, tag 0x0112)."""
        return 1 if self.decoded_upright else self.file_orientation()

    def file_orientation(self) -> int:
        """The orientation of the picture as it is stored in the file."""
        if self.orientation is not None:
            return self.orientation
        found = None if self.exif is None else exif_data.orientation(self.exif)
        if found is None and self.xmp is not None:
            found = xmp_data.orientation(self.xmp)
        return found or 1

    def resolution(self) -> tuple[float, float] | None:
        """Pixels per inch, from the header of the file, else from its EXIF; None where both have none."""
        found = self.dpi
        if found is None and self.exif is not None:
            tiff = Tiff(self.exif)
            found = exif_data.resolution(tiff, tiff.directory(tiff.first))
        return found if found is not None and all(0 < value <= MOST_DPI for value in found) else None


def profile_kind(icc: bytes) -> str | None:
    """The colours that a profile is for, from its header (ICC.1, 7.2): "RGB", "grey", "CMYK", "Lab" or another name.

    None: the profile is damaged.
    """
    if len(icc) < 128 or icc[36:40] != b"acsp":
        return None
    return _PROFILE_KINDS.get(icc[16:20], icc[16:20].decode("ascii", "replace").strip())


@dataclass(frozen=True)
class Upright:
    """What a file says, corrected for the upright picture."""

    exif: bytes | None
    xmp: bytes | None
    iptc: bytes | None
    text: tuple[Text, ...]
    gain_map: GainMap | None


def upright(stored: Stored, height: int, width: int) -> Upright:
    """Correct what `stored` says for the upright picture; its samples were decoded as `height` x `width`."""
    orientation = stored.file_orientation()
    if stored.decoded_upright and orientation >= 5:
        height, width = width, height
    gain_map, packet = stored.gain_map, stored.xmp
    if packet is not None:
        if gain_map is None and (xmp_data.has_gain_map(packet) or xmp_data.has_video(packet)):
            packet = xmp_data.without_parts(packet)
        packet = xmp_data.upright(packet, orientation, height, width)
    return Upright(
        None if stored.exif is None else exif_data.upright(stored.exif),
        None if packet is None else packet.encode(),
        None if stored.iptc is None else photoshop.carried(stored.iptc, orientation == 1),
        tuple(stored.text),
        None if gain_map is None else GainMap(gain_map, orientation, stored.gain_map_marker),
    )
