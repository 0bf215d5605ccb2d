"""Prepare what a picture carries for a file of one format and size, with a note for what the format cannot hold."""

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

from . import colour, jpeg
from . import exif as exif_data
from . import xmp as xmp_data
from .formats import Carried, Format
from .picture import COMMENT, NO_COLOUR_TAGS, ColourTags, GainMap, Note, NoteKind, Picture, Text
from .source import DAMAGE

Keep = Literal["all", "none", "no-gps"]
"""Which metadata a written file has: all; only colours and resolution; or all but the GPS location."""

T = TypeVar("T")

_PARAMETERS = "parameters"
"""Keyword of the PNG text in which image generators store their parameters. In EXIF they use the user comment."""
_LONGEST_PARAMETERS = 15_000
"""The longest parameters that are put into EXIF, in characters: a JPEG holds 64 KB of EXIF."""

_LEFT_OUT: dict[Carried, tuple[NoteKind, str]] = {
    "ICC profile": ("profile", "a colour profile; it was left out"),
    "colour tags": ("colour", "the colour tags; they were left out, and colours may look different"),
    "HDR levels": ("hdr levels", "HDR mastering and light levels; they were left out"),
    "EXIF": ("exif", "EXIF data; it was left out"),
    "XMP": ("xmp", "XMP metadata; it was left out"),
    "IPTC": ("iptc", "IPTC metadata; it was left out"),
    "text": ("text", "PNG text; it was left out"),
    "comments": ("comments", "comments; they were left out"),
    "gain map": ("gain map", "an HDR gain map; it was left out"),
}
"""What a format cannot hold -> kind and end of the note about it."""


@dataclass(frozen=True)
class Attachments:
    """What a file stores beside its samples. Its format can hold all of it."""

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
    """`picture` with the metadata that `keep` allows."""
    if keep == "none":
        return dataclasses.replace(picture, exif=None, xmp=None, iptc=None, text=(), gain_map=None)
    if keep == "no-gps":
        exif, xmp = picture.exif, picture.xmp
        with suppress(ValueError):  # damaged data is left out by `prepare`
            exif = None if exif is None else exif_data.without_gps(exif_data.split_prefix(exif))
        with suppress(ValueError):
            xmp = None if xmp is None else xmp_data.without_gps(xmp_data.decoded(xmp)).encode()
        text = tuple(one for one in picture.text if "gps" not in one.keyword.lower())
        return dataclasses.replace(picture, exif=exif, xmp=xmp, text=text)
    return picture


def prepare(picture: Picture, kind: Format, grey: bool, notes: list[Note]) -> Attachments:
    """Everything that `picture` carries and `kind` can hold, corrected for its present size.

    Args:
        grey: whether the samples of the file are grey.
        notes: gets a note about each thing that is converted or left out.
    """
    missing: list[Carried] = []

    def held(thing: Carried, value: T | None) -> T | None:
        """`value` where the format can hold it."""
        if value is None or thing in kind.holds:
            return value
        missing.append(thing)
        return None

    icc, tags = _colours(picture, kind, grey, missing, notes)
    gain_map = held("gain map", picture.gain_map)
    resized = None if gain_map is None else _resized(gain_map, picture, notes)
    texts = tuple(one for one in picture.text if one.keyword != COMMENT)
    exif = _exif(picture, notes)
    if "text" in kind.converts:
        exif, texts = _with_parameters(exif, texts)
    comments = tuple(one for one in picture.text if one.keyword == COMMENT)
    written = {*(held("comments", comments or None) or ()), *(held("text", texts or None) or ())}
    result = Attachments(
        icc=icc,
        colour=tags,
        exif=held("EXIF", exif),
        xmp=held("XMP", _xmp(picture, resized, notes)),
        iptc=held("IPTC", picture.iptc),
        text=tuple(one for one in picture.text if one in written),
        gain_map=resized,
        gain_map_marker=None if resized is None or gain_map is None else gain_map.marker,
        dpi=picture.dpi,
    )
    for thing in missing:
        reason, words = _LEFT_OUT[thing]
        notes.append(Note(reason, f"{kind.name} cannot hold {words}."))
    return _fitted(result, kind, notes)


def _exif(picture: Picture, notes: list[Note]) -> bytes | None:
    if picture.exif is None:
        return None
    try:
        return exif_data.stamped(exif_data.split_prefix(picture.exif), picture.height, picture.width)
    except ValueError:
        notes.append(Note("exif", "The EXIF data is damaged and was left out."))
        return None


def _xmp(picture: Picture, gain_map: bytes | None, notes: list[Note]) -> str | None:
    if picture.xmp is None:
        return None
    try:
        packet = xmp_data.decoded(picture.xmp)
    except ValueError:
        notes.append(Note("xmp", "The XMP metadata is damaged and was left out."))
        return None
    original = picture.original_size or (picture.height, picture.width)
    packet = xmp_data.stamped(packet, picture.height, picture.width, original)
    return xmp_data.without_parts(packet) if gain_map is None else xmp_data.with_map_length(packet, len(gain_map))


def _resized(gain_map: GainMap, picture: Picture, notes: list[Note]) -> bytes | None:
    height, width = picture.original_size or (picture.height, picture.width)
    try:
        return jpeg.resized_gain_map(gain_map, picture.height / height, picture.width / width)
    except DAMAGE:
        notes.append(Note("gain map", "The HDR gain map is damaged and was left out."))
        return None


def _with_parameters(exif: bytes | None, texts: tuple[Text, ...]) -> tuple[bytes | None, tuple[Text, ...]]:
    """Move the generation parameters from `texts` to the user comment of EXIF, if it has none. Returns both."""
    found = next((one for one in texts if one.keyword == _PARAMETERS and len(one.text) <= _LONGEST_PARAMETERS), None)
    extended = None if found is None else exif_data.with_user_comment(exif, found.text)
    if extended is None:
        return exif, texts
    return extended, tuple(one for one in texts if one is not found)


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
    """`result` without what is too large for the format."""
    if kind.name != "JPEG":
        return result
    if result.exif is not None and len(result.exif) > jpeg.MOST_EXIF:
        notes.append(Note("exif", "The EXIF data is larger than a JPEG can hold; it was left out."))
        result = dataclasses.replace(result, exif=None)
    short = tuple(one for one in result.text if len(one.text.encode()) <= jpeg.MOST_COMMENT)
    if len(short) < len(result.text):
        notes.append(Note("comments", "A comment is longer than a JPEG can hold; it was left out."))
    return dataclasses.replace(result, text=short)
