"""What a picture carries, made ready for a file of one format and size; what that format cannot hold is noted."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from . import colour, jpeg
from . import exif as exif_data
from . import xmp as xmp_data
from .formats import Carried, Format
from .picture import COMMENT, NO_COLOUR_TAGS, ColourTags, Note, NoteKind, Picture, Text
from .source import DAMAGE

Keep = Literal["all", "none", "no-gps"]
"""Which metadata a written file has: all, none but colours and resolution, or all but the place."""

_LEFT_OUT: dict[Carried, tuple[NoteKind, str]] = {
    "ICC profile": ("profile", "the colour profile"),
    "colour tags": ("colour", "the colour tags"),
    "HDR levels": ("hdr levels", "the HDR mastering and light levels"),
    "EXIF": ("exif", "the EXIF data"),
    "XMP": ("xmp", "the XMP metadata"),
    "IPTC": ("iptc", "the IPTC metadata"),
    "text": ("text", "the text"),
    "comments": ("comments", "the comments"),
    "gain map": ("gain map", "the HDR gain map"),
}


@dataclass(frozen=True)
class Attachments:
    """What a file shall hold beside its samples; its format can hold all of it."""

    icc: bytes | None = None
    colour: ColourTags = NO_COLOUR_TAGS
    exif: bytes | None = None
    xmp: str | None = None
    iptc: bytes | None = None
    text: tuple[Text, ...] = ()
    gain_map: bytes | None = None
    """A JPEG file of the final size."""
    gain_map_marker: bytes | None = None
    dpi: tuple[float, float] | None = None


def kept(picture: Picture, keep: Keep) -> Picture:
    """`picture` with no more metadata than `keep` says."""
    if keep == "none":
        return dataclasses.replace(picture, exif=None, xmp=None, iptc=None, text=(), gain_map=None)
    if keep == "no-gps":
        exif = None if picture.exif is None else exif_data.without_gps(exif_data.split_prefix(picture.exif))
        xmp = None if picture.xmp is None else xmp_data.without_gps(picture.xmp.decode()).encode()
        text = tuple(one for one in picture.text if "gps" not in one.keyword.lower())
        return dataclasses.replace(picture, exif=exif, xmp=xmp, text=text)
    return picture


def prepare(picture: Picture, kind: Format, grey: bool, notes: list[Note]) -> Attachments:
    """All that `picture` carries and `kind` can hold, true for its present size; `grey`: so are the file's samples."""
    missing: list[Carried] = []

    def held(thing: Carried, there: bool) -> bool:
        """Whether `thing` is there and can be written; notes it where only the second fails."""
        if there and thing not in kind.holds:
            missing.append(thing)
        return there and thing in kind.holds

    icc, tags = _colours(picture, kind, grey, missing, notes)
    exif = None if picture.exif is None else exif_data.split_prefix(picture.exif)
    packet = None if picture.xmp is None else picture.xmp.decode()
    original = picture.original_size or (picture.height, picture.width)
    gain_map = picture.gain_map if held("gain map", picture.gain_map is not None) else None
    resized: bytes | None = None
    if gain_map is not None:
        try:
            resized = jpeg.resized_gain_map(gain_map, picture.height / original[0], picture.width / original[1])
        except DAMAGE:
            notes.append(Note("gain map", "The HDR gain map is damaged and was left out."))
    if packet is not None:
        packet = xmp_data.stamped(packet, picture.height, picture.width, original)
        packet = xmp_data.without_parts(packet) if resized is None else xmp_data.with_map_length(packet, len(resized))
    if exif is not None:
        exif = exif_data.stamped(exif, picture.height, picture.width)
    comments = held("comments", any(one.keyword == COMMENT for one in picture.text))
    texts = held("text", any(one.keyword != COMMENT for one in picture.text))
    result = Attachments(
        icc=icc,
        colour=tags,
        exif=exif if held("EXIF", exif is not None) else None,
        xmp=packet if held("XMP", packet is not None) else None,
        iptc=picture.iptc if held("IPTC", picture.iptc is not None) else None,
        text=tuple(one for one in picture.text if (comments if one.keyword == COMMENT else texts)),
        gain_map=resized,
        gain_map_marker=None if resized is None or gain_map is None else gain_map.marker,
        dpi=picture.dpi,
    )
    for thing in missing:
        reason, words = _LEFT_OUT[thing]
        notes.append(Note(reason, f"{kind.name} cannot hold {words}; this was left out."))
    return _fitted(result, kind, notes)


def _colours(
    picture: Picture, kind: Format, grey: bool, missing: list[Carried], notes: list[Note]
) -> tuple[bytes | None, ColourTags]:
    """The ICC profile and the colour tags for the file."""
    icc, tags = picture.icc, picture.colour
    if icc is not None and picture.grey and not grey:
        notes.append(Note("profile", f"{kind.name} cannot hold grey pictures; the grey colour profile was left out."))
        icc = None
    if (tags.mastering_display or tags.light_level) and "HDR levels" not in kind.holds:
        missing.append("HDR levels")
        tags = dataclasses.replace(tags, mastering_display=None, light_level=None)
    if "colour tags" in kind.holds:
        return icc, tags
    as_icc = kind.converts.get("colour tags") is not None
    if colour.is_srgb(tags) or (icc is not None and tags.cicp is None):
        tags = NO_COLOUR_TAGS
    elif as_icc:
        nclx = kind.name == "AVIF" and tags.cicp is not None and tags.cicp[3] == 1
        made = None if nclx else colour.profile_of(tags, grey)
        if made is None and not nclx:
            missing.append("colour tags")
        icc, tags = made or icc, ColourTags(cicp=tags.cicp) if nclx else NO_COLOUR_TAGS
    else:
        missing.append("colour tags")
        tags = NO_COLOUR_TAGS
    if icc is not None and "ICC profile" not in kind.holds:
        missing.append("ICC profile")
        icc = None
    return icc, tags


def _fitted(result: Attachments, kind: Format, notes: list[Note]) -> Attachments:
    """`result` without what is too long for the format."""
    if kind.name != "JPEG":
        return result
    if result.exif is not None and len(result.exif) > jpeg.MOST_EXIF:
        notes.append(Note("exif", "The EXIF data is larger than a JPEG can hold; it was left out."))
        result = dataclasses.replace(result, exif=None)
    short = tuple(one for one in result.text if len(one.text.encode()) <= jpeg.MOST_COMMENT)
    if len(short) < len(result.text):
        notes.append(Note("comments", "A comment is longer than a JPEG can hold; it was left out."))
    return dataclasses.replace(result, text=short)
