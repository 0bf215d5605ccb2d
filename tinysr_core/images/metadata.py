"""Read what a picture file says besides its pixels: from its bytes, and from Pillow where only Pillow knows."""

import struct
import zlib
from collections.abc import Iterable
from typing import IO, Any

from PIL import Image

from . import exif as exif_data
from . import isobmff, jpeg, photoshop, png
from . import xmp as xmp_data
from .picture import COMMENT, ColourTags, Note, Text
from .source import DAMAGE
from .stored import Stored
from .tiff import Bytes, Directory, FileBytes, Tiff

_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 700, 33723, 34377
_APPLE_GAIN_MAP = "urn:com:apple:photo:2020:aux:hdrgainmap"
_PREVIEWS = range(0x010000, 0x020000)
"""Type codes of further pictures in a JPEG that are smaller versions of the main one."""


def read_metadata(kind: str, stream: IO[bytes]) -> Stored:
    """Read the metadata of a file of format `kind` from its bytes. Damaged parts are left out, with a note."""
    data = FileBytes(stream)
    stored = Stored()
    try:
        match kind:
            case "JPEG":
                _read_jpeg(data, stored)
            case "PNG":
                _read_png(png.chunks(stream), stored)
            case "WebP":
                _read_webp(data, stored)
            case "TIFF":
                tiff = Tiff(data)
                _read_tiff(tiff, tiff.directory(tiff.first), stored)
            case "AVIF" | "HEIC":
                _read_heif(data, stored)
                stored.orientation = 1  # libheif turns HEIC upright; for AVIF see `add_decoded`
            case _:
                pass
    except DAMAGE:
        stored.notes.append(Note("exif", "Part of the metadata is damaged and was left out."))
    return stored


def add_decoded(kind: str, stream: IO[bytes], image: Image.Image, stored: Stored) -> None:
    """Add what only the decoder of `image` knows about the file of format `kind` in `stream`."""
    if kind == "HEIC" and (numbers := image.info.get("aux", {}).get(_APPLE_GAIN_MAP)):
        from pillow_heif import open_heif

        gain_map = open_heif(stream).get_aux_image(numbers[0]).to_pillow()
        stored.gain_map = jpeg.apple_gain_map(gain_map, stored.gain_map_xmp)
        stored.notes = [note for note in stored.notes if note.kind != "gain map"]
    if kind == "AVIF":
        stored.orientation = _orientation_of(image)
    if kind == "TIFF":
        stored.decoded_upright = _orientation_of(image) != stored.file_orientation()
    if kind in ("GIF", "BMP"):
        _read_info(image.info, stored)


def metadata_of(image: Image.Image) -> Stored:
    """The metadata that Pillow has of an open picture."""
    stored = Stored()
    _read_info(image.info, stored)
    found = image.info.get("exif")
    if isinstance(found, bytes):
        stored.set_exif(found)
    else:
        exif = image.getexif()
        if len(exif):
            stored.set_exif(exif.tobytes())
    packet = image.info.get("xmp") or image.info.get(png.XMP_KEYWORD)
    if packet:
        stored.set_xmp(packet.encode() if isinstance(packet, str) else packet)
    return stored


def _read_jpeg(data: Bytes, stored: Stored) -> None:
    exif, resources = b"", b""
    extensions: list[bytes] = []
    credentials = False
    for marker, _, content in jpeg.segments(data):
        if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, across, down = struct.unpack_from(">BHH", content, 7)
            per_inch = {1: 1.0, 2: 2.54}.get(unit)
            if per_inch and across and down:
                stored.dpi = across * per_inch, down * per_inch
        elif marker == 0xE1 and content.startswith(jpeg.EXIF):
            part = content[len(jpeg.EXIF) :]
            if not exif or not part.startswith((b"II", b"MM")):  # EXIF above 64 KB continues in the next segment
                exif += part
        elif marker == 0xE1 and content.startswith(jpeg.XMP) and stored.xmp is None:
            stored.set_xmp(content[len(jpeg.XMP) :])
        elif marker == 0xE1 and content.startswith(jpeg.XMP_EXTENSION) and len(content) > len(jpeg.XMP_EXTENSION) + 40:
            extensions.append(content)
        elif marker == 0xED and content.startswith(jpeg.PHOTOSHOP):
            resources += content[len(jpeg.PHOTOSHOP) :]
        elif marker == 0xE2 and content.startswith(jpeg.ISO_GAIN_MAP):
            stored.gain_map_marker = content
        elif marker == 0xEB and content.startswith(jpeg.CREDENTIALS):
            credentials = True
        elif marker == 0xFE and content.strip(b"\0 "):
            stored.text.append(Text(COMMENT, _comment(content)))
    if exif:
        stored.set_exif(exif)
    if resources:
        stored.iptc = resources
    if stored.xmp is not None and (name := xmp_data.extension_name(stored.xmp)):
        extended = jpeg.extended_xmp(extensions, name)
        try:
            stored.xmp = xmp_data.merged(stored.xmp, xmp_data.decoded((extended or "").encode()))
        except ValueError:
            stored.notes.append(Note("xmp", "The second part of the XMP metadata is damaged and was left out."))
    _read_further_pictures(data, stored)
    if credentials:
        _note_credentials(stored)
    if stored.xmp is not None and stored.gain_map is None and xmp_data.has_gain_map(stored.xmp):
        stored.notes.append(Note("gain map", "The HDR gain map could not be found and was left out."))
    if stored.xmp is not None and xmp_data.has_video(stored.xmp):
        stored.notes.append(Note("video", "The video of a motion photo was left out."))


def _read_further_pictures(data: Bytes, stored: Stored) -> None:
    others = 0
    for code, picture in jpeg.multi_pictures(data):
        if jpeg.is_gain_map(picture) and stored.gain_map is None:
            stored.gain_map = picture
        elif code not in _PREVIEWS:
            others += 1
    if others:
        stored.notes.append(Note("frames", f"Only the first of {others + 1} pictures in the file was read."))


def _read_png(chunks: Iterable[tuple[bytes, bytes]], stored: Stored) -> None:
    colour: dict[bytes, bytes] = {}
    for name, content in chunks:
        if name == b"eXIf":
            stored.set_exif(content)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            try:
                _take_text(png.text_of(name, content), stored)
            except (ValueError, zlib.error):
                stored.notes.append(Note("text", "A damaged text was left out."))
        elif name == b"pHYs" and len(content) == 9 and content[8] == 1:
            across, down = struct.unpack_from(">II", content)
            stored.dpi = across * 0.0254, down * 0.0254
        elif name == b"caBX":
            _note_credentials(stored)
        else:
            colour.setdefault(name, content)
    stored.colour = png.colour_tags(colour)


def _take_text(text: Text, stored: Stored) -> None:
    """Store a text of a PNG: as metadata if it holds XMP or a raw profile of ImageMagick."""
    if text.keyword == png.XMP_KEYWORD:
        stored.set_xmp(text.text.encode())
        return
    if not text.keyword.startswith(png.RAW_PROFILE):
        stored.text.append(text)
        return
    kind = text.keyword.removeprefix(png.RAW_PROFILE)
    data = png.raw_profile(text.text)
    if kind in ("exif", "APP1") and data.startswith(jpeg.EXIF) and stored.exif is None:
        stored.set_exif(data)
    elif kind in ("xmp", "APP1") and stored.xmp is None:
        stored.set_xmp(data.removeprefix(jpeg.XMP))
    elif kind in ("iptc", "8bim", "APP13") and stored.iptc is None:
        data = data.removeprefix(jpeg.PHOTOSHOP)
        stored.iptc = data if data.startswith(b"8BIM") else photoshop.packed(photoshop.IPTC, b"", data)


def _read_webp(data: Bytes, stored: Stored) -> None:
    at = 12
    while len(head := bytes(data[at : at + 8])) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"EXIF":
            stored.set_exif(bytes(data[at + 8 : at + 8 + size]))
        elif name == b"XMP ":
            stored.set_xmp(bytes(data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2


def _read_tiff(tiff: Tiff, main: Directory, stored: Stored) -> None:
    stored.exif = exif_data.from_tiff(tiff, main)
    stored.orientation = exif_data.orientation_of(tiff, main) or 1
    stored.dpi = exif_data.resolution(tiff, main)
    if packet := tiff.block(main, _XMP_TAG):
        stored.set_xmp(packet)
    resources = tiff.block(main, _PHOTOSHOP_TAG) or b""
    iptc = tiff.block(main, _IPTC_TAG)
    if iptc and photoshop.iptc_of(resources) is None:
        resources += photoshop.packed(photoshop.IPTC, b"", iptc)
    stored.iptc = resources or None


def _read_heif(data: Bytes, stored: Stored) -> None:
    found = isobmff.read_heif(data)
    if found.exif:
        stored.set_exif(found.exif)
    if found.xmp:
        stored.set_xmp(found.xmp)
    cicp = found.cicp
    stored.colour = ColourTags(
        cicp=None if cicp is None or cicp[:2] == (2, 2) else (cicp[0], cicp[1], 0, 1),
        mastering_display=found.mastering_display,
        light_level=found.light_level,
    )
    stored.gain_map_xmp = found.gain_map_xmp
    if found.gain_map:
        text = "The HDR gain map was left out; it can be carried from JPEG to JPEG only."
        stored.notes.append(Note("gain map", text))


def _read_info(info: dict[Any, Any], stored: Stored) -> None:
    """Read texts, colour tags and resolution from Pillow's `info`."""
    dpi = info.get("dpi")
    if dpi is not None:
        stored.dpi = float(dpi[0]), float(dpi[1])
    gamma, white, srgb = info.get("gamma"), info.get("chromaticity"), info.get("srgb")
    stored.colour = ColourTags(
        srgb=srgb if srgb in (0, 1, 2, 3) else None,
        gamma=round(gamma * 100_000) if isinstance(gamma, float) and gamma > 0 else None,
        chromaticities=None if white is None else tuple(round(value * 100_000) for value in white),
    )
    for key, value in info.items():
        if key == "comment" and value:
            stored.text.append(Text(COMMENT, _comment(value) if isinstance(value, bytes) else value))
        elif isinstance(value, str) and isinstance(key, str) and key not in ("compression", png.XMP_KEYWORD):
            _take_text(Text(key, value, getattr(value, "lang", "") or "", getattr(value, "tkey", "") or ""), stored)
    resources = info.get("photoshop")
    if isinstance(resources, dict):
        parts = [photoshop.packed(number, b"", data) for number, data in resources.items() if isinstance(data, bytes)]
        stored.iptc = b"".join(parts) or None


def _orientation_of(image: Image.Image) -> int:
    found = image.getexif().get(274, 1)
    return found if found in range(1, 9) else 1


def _comment(content: bytes) -> str:
    content = content.rstrip(b"\0")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _note_credentials(stored: Stored) -> None:
    text = "The content credentials (C2PA) are valid for the unchanged picture only and were left out."
    stored.notes.append(Note("credentials", text))
