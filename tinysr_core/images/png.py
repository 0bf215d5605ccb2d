"""The chunks of PNG files (W3C PNG, third edition) other than pixels."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import IO

from .picture import ColourTags, Text

XMP_KEYWORD = "XML:com.adobe.xmp"
RAW_PROFILE = "Raw profile type "
_MOST_TEXT = 16 * 2**20
"""The longest text after decompression, in bytes."""


def chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The name and content of each complete chunk that holds no pixels."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"fdAT"):
            stream.seek(length + 4, 1)
            continue
        content = stream.read(min(length, 2**31))
        if len(content) < length or name == b"IEND":
            return
        stream.seek(4, 1)
        yield name, content


def without_compressed_text(stream: IO[bytes]) -> IO[bytes]:
    """`stream`, or a copy without compressed texts if it has any: Pillow refuses pictures with long ones."""
    unwanted = (b"zTXt", b"iTXt")
    found = any(name in unwanted for name, _ in chunks(stream))
    stream.seek(0)
    if not found:
        return stream
    copy = BytesIO()
    copy.write(stream.read(8))
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        rest = stream.read(length + 4)
        if name not in unwanted:
            copy.write(head + rest)
    copy.seek(0)
    return copy


def text_of(name: bytes, content: bytes) -> Text:
    """The text of a chunk tEXt, zTXt or iTXt.

    Raises:
        ValueError, zlib.error: the text is damaged.
    """
    keyword, zero, rest = content.partition(b"\0")
    if not zero:
        raise ValueError("a text without keyword")
    key = keyword.decode("latin-1")
    if name == b"tEXt":
        return Text(key, rest.decode("latin-1"))
    if name == b"zTXt":
        return Text(key, _inflated(rest[1:]).decode("latin-1"))
    compressed = rest[:1] == b"\1"
    language, _, rest = rest[2:].partition(b"\0")
    translated, _, value = rest.partition(b"\0")
    text = (_inflated(value) if compressed else value).decode("utf-8", "replace")
    return Text(key, text, language.decode("latin-1"), translated.decode("utf-8", "replace"))


def text_chunk(text: Text) -> tuple[bytes, bytes]:
    """The name and content of a text chunk: Latin-1 where possible; uncompressed, as all readers can read it."""
    key = text.keyword.encode("latin-1", "replace")[:79] or b"Comment"
    try:
        if not text.language and not text.translated:
            return b"tEXt", key + b"\0" + text.text.encode("latin-1")
    except UnicodeEncodeError:
        pass
    about = text.language.encode("ascii", "replace") + b"\0" + text.translated.encode()
    return b"iTXt", key + b"\0\0\0" + about + b"\0" + text.text.encode()


def raw_profile(text: str) -> bytes:
    """The bytes of a text "Raw profile type ..." of ImageMagick: a name, a length, hexadecimal digits.

    Raises:
        ValueError: the text is damaged.
    """
    _, _, rest = text.lstrip().partition("\n")
    length, _, digits = rest.lstrip().partition("\n")
    data = bytes.fromhex("".join(digits.split()))
    if len(data) != int(length):
        raise ValueError("a raw profile is truncated")
    return data


def raw_profile_text(kind: str, data: bytes) -> Text:
    """The inverse of `raw_profile`."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return Text(RAW_PROFILE + kind, f"\n{kind}\n{len(data):8}\n{lines}\n")


def colour_tags(found: dict[bytes, bytes]) -> ColourTags:
    """The colour tags in the chunks `found`. Chunks of a wrong size are ignored."""

    def values(name: bytes, layout: str) -> tuple[int, ...] | None:
        content = found.get(name, b"")
        return struct.unpack(layout, content) if len(content) == struct.calcsize(layout) else None

    cicp, srgb, gamma, white = (
        values(b"cICP", "4B"),
        values(b"sRGB", "B"),
        values(b"gAMA", ">I"),
        values(b"cHRM", ">8I"),
    )
    return ColourTags(
        None if cicp is None else (cicp[0], cicp[1], cicp[2], cicp[3]),
        srgb[0] if srgb is not None and srgb[0] < 4 else None,
        gamma[0] if gamma is not None and 0 < gamma[0] < 2**31 else None,
        white if white is not None and max(white) <= 100_000 else None,
        found[b"mDCV"] if len(found.get(b"mDCV", b"")) == 24 else None,
        found[b"cLLI"] if len(found.get(b"cLLI", b"")) == 8 else None,
    )


def colour_chunks(tags: ColourTags) -> Iterator[tuple[bytes, bytes]]:
    """The name and content of each chunk for `tags`; the inverse of `colour_tags`."""
    if tags.cicp is not None:
        yield b"cICP", bytes((*tags.cicp[:2], 0, tags.cicp[3]))
    if tags.mastering_display is not None:
        yield b"mDCV", tags.mastering_display
    if tags.light_level is not None:
        yield b"cLLI", tags.light_level
    if tags.srgb is not None:
        yield b"sRGB", bytes([tags.srgb])
    if tags.gamma is not None:
        yield b"gAMA", struct.pack(">I", tags.gamma)
    if tags.chromaticities is not None:
        yield b"cHRM", struct.pack(">8I", *tags.chromaticities)


def _inflated(data: bytes) -> bytes:
    inflate = zlib.decompressobj()
    result = inflate.decompress(data, _MOST_TEXT)
    if inflate.unconsumed_tail:
        raise ValueError("a text is too long")
    return result
