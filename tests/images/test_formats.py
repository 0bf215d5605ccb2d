"""Every cell of the table of formats and what they carry, which is in docs/formats.md."""

import dataclasses
import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tinysr_core.images import (
    FORMATS,
    ColourTags,
    GainMap,
    Note,
    Picture,
    Text,
    photoshop,
    read_picture,
    write_picture,
)
from tinysr_core.images.formats import CARRIED, READ, markdown_table

ROOT = Path(__file__).parents[2]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
)
KINDS = {
    **{"ICC profile": "profile", "colour tags": "colour", "HDR levels": "hdr levels", "EXIF": "exif", "XMP": "xmp"},
    **{"IPTC": "iptc", "text": "text", "comments": "comments", "gain map": "gain map"},
}
"""What was left out -> the kind of the note about it."""


def plain_exif() -> bytes:
    exif = Image.Exif()
    exif[0x10F] = "Camera"
    return exif.tobytes()[6:]


def gain_map() -> GainMap:
    stream = io.BytesIO()
    xmp = b'<a xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:GainMapMax="2"/>'
    Image.new("L", (8, 6), 77).save(stream, "JPEG", xmp=xmp)
    return GainMap(stream.getvalue(), 1, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")


THINGS: dict[str, dict[str, object]] = {
    "ICC profile": {"icc": SRGB},
    "colour tags": {"colour": ColourTags(cicp=(9, 16, 0, 1))},
    "HDR levels": {"colour": ColourTags(mastering_display=bytes(range(24)), light_level=bytes(range(8)))},
    "EXIF": {"exif": plain_exif()},
    "XMP": {"xmp": XMP},
    "IPTC": {"iptc": photoshop.packed(photoshop.IPTC, b"", b"\x1c\x02\x78\0\x03abc")},
    "text": {"text": (Text("Title", "größer"), Text("Tïtle", "€uro", "de", "Titel"))},
    "comments": {"text": (Text("Comment", "größer €"),)},
    "gain map": {"gain_map": gain_map()},
    "resolution": {"dpi": (300.0, 150.0)},
}


def picture(**carried: object) -> Picture:
    return Picture(np.full((1, 3, 12, 16), 0.5, np.float32), **carried)


def carries(found: Picture, thing: str) -> bool:
    """Whether `found` has `thing` as `THINGS` has it."""
    if thing == "gain map":
        return found.gain_map is not None
    if thing == "EXIF":
        return found.exif is not None and b"Camera" in found.exif
    if thing == "resolution":
        return found.dpi == pytest.approx((300, 150), rel=1e-3)
    if thing == "colour tags":
        return found.colour.cicp == (9, 16, 0, 1)
    if thing == "HDR levels":
        return bool(found.colour.light_level or found.colour.mastering_display)
    if thing in ("text", "comments"):
        return set(THINGS[thing]["text"]) <= set(found.text)
    ((name, value),) = THINGS[thing].items()
    return getattr(found, name) == value


def test_the_table_has_a_row_for_everything() -> None:
    assert tuple(THINGS) == CARRIED
    assert {kind.name for kind in FORMATS.values()} <= set(READ)


def test_the_documentation_shows_the_table() -> None:
    assert markdown_table() in (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("key", "thing"), list(itertools.product(FORMATS, CARRIED)))
def test_one_thing_is_kept_converted_or_noted(tmp_path, key, thing):
    kind = FORMATS[key]
    notes = write_picture(picture(**THINGS[thing]), tmp_path / f"a.{key}")
    found = read_picture(tmp_path / f"a.{key}")
    assert found.notes == ()
    if thing in kind.holds:
        assert notes == ()
        assert carries(found, thing)
    elif thing == "colour tags" and thing in kind.converts:
        assert notes == ()
        assert carries(found, thing) == (key == "avif")
        assert key == "avif" or found.icc is not None
    else:
        assert [note.kind for note in notes] == [KINDS[thing]]
        assert kind.name in notes[0]


def encoded(name: str, folder: Path) -> Path:
    """A file of format `name` with everything that is read from it."""
    path = folder / f"source.{name.lower()}"
    everything = {key: value for thing in CARRIED if thing != "colour tags" for key, value in THINGS[thing].items()}
    everything["text"] = (*THINGS["text"]["text"], *THINGS["comments"]["text"])
    levels = THINGS["HDR levels"]["colour"]
    everything["colour"] = dataclasses.replace(levels, cicp=(9, 16, 0, 1)) if name in ("PNG", "AVIF") else levels
    key = name.lower()
    if key in FORMATS:
        write_picture(picture(**everything), path)
        return path
    image = Image.new("RGB", (16, 12), (90, 120, 150))
    if name == "GIF":
        image.save(path, comment="größer €".encode())
        return path
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif.load(plain_exif())
    exif[0x11A], exif[0x11B], exif[0x128] = 300.0, 150.0, 2
    image = image.resize((64, 64))
    image.putalpha(Image.linear_gradient("L").resize((64, 64)))
    heif.from_pillow(image).save(
        *(path,), exif=exif.tobytes(), xmp=XMP, color_primaries=9, transfer_characteristics=16, save_nclx_profile=True
    )
    path.write_bytes(alpha_as_gain_map(path.read_bytes()))
    return path


def add(data: bytearray, at: int, more: int) -> None:
    data[at : at + 4] = struct.pack(">I", struct.unpack_from(">I", data, at)[0] + more)


def alpha_as_gain_map(heic: bytes) -> bytes:
    """A HEIC file whose alpha calls itself Apple's gain map: the name is longer, so that all behind it moves."""
    alpha, apple = b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
    at, more = heic.index(alpha), len(apple) - len(alpha)
    data = bytearray(heic.replace(alpha, apple))
    for box in (b"meta", b"iprp", b"ipco", b"auxC"):
        start = data.rindex(box, 0, at + 4) - 4
        add(data, start, more)
    items = data.index(b"iloc") + 10  # their number, then 18 bytes an item (ISO 14496-12, 8.11.3)
    for item in range(items + 2, items + 2 + 18 * struct.unpack_from(">H", data, items)[0], 18):
        add(data, item + 4, more)  # where its content begins
    return bytes(data)


@pytest.mark.parametrize(("source", "key"), list(itertools.product(READ, FORMATS)))
def test_every_pair_of_formats_keeps_or_notes_everything(tmp_path, source, key):
    kind = FORMATS[key]
    start = read_picture(encoded(source, tmp_path))
    there = {thing for thing in CARRIED if carries(start, thing)}
    expected = READ[source] - {"HDR levels"} if source in ("HEIC", "AVIF") else READ[source]
    if source == "HEIC":
        expected -= {"ICC profile"}  # pillow-heif writes one or the other
    if source in ("JPEG", "TIFF", "WebP"):
        expected -= {"colour tags"}
    assert there == expected
    notes = write_picture(start, tmp_path / f"a.{key}")
    found = read_picture(tmp_path / f"a.{key}")
    for thing in there:
        if thing in kind.holds and not (thing == "ICC profile" and "colour tags" in there and key != "png"):
            assert carries(found, thing), thing
        elif thing == "colour tags" and thing in kind.converts:
            assert carries(found, thing) or found.icc is not None
        elif thing != "ICC profile":
            assert KINDS[thing] in [note.kind for note in notes], thing
    assert {note.kind for note in notes} <= {KINDS[thing] for thing in there - kind.holds}


@pytest.mark.parametrize("key", FORMATS)
def test_keep_none_leaves_colours_and_resolution(tmp_path, key):
    everything = {name: value for carried in THINGS.values() for name, value in carried.items()}
    start = picture(**{**everything, "colour": ColourTags()})
    notes = write_picture(start, tmp_path / f"a.{key}", keep="none")
    found = read_picture(tmp_path / f"a.{key}")
    assert [note.kind for note in notes] == (["profile"] if key == "bmp" else [])
    assert (found.icc == SRGB) == (key != "bmp")
    assert found.dpi == pytest.approx((300, 150), rel=1e-3)
    assert b"Camera" not in (tmp_path / f"a.{key}").read_bytes()
    assert (found.xmp, found.iptc, found.text, found.gain_map) == (None, None, (), None)


def test_notes_can_be_counted_compared_and_sent_to_other_processes():
    import json
    import pickle

    note = Note("bits", "16 bits per channel were read as 8.")
    again = pickle.loads(pickle.dumps(note))
    assert (again, again.kind) == ("16 bits per channel were read as 8.", "bits")
    assert json.dumps([note]) == '["16 bits per channel were read as 8."]'


# PNG text in all its forms


def png_with(folder: Path, *chunks: tuple[bytes, bytes]) -> Path:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "PNG")
    data = stream.getvalue()
    extra = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path = folder / "chunks.png"
    path.write_bytes(data[:33] + extra + data[33:])
    return path


def test_all_kinds_of_png_text_are_kept_in_order(tmp_path):
    path = png_with(
        *(tmp_path, (b"tEXt", b"Author\0Jos\xe9"), (b"zTXt", b"workflow\0\0" + zlib.compress(b'{"a": 1}'))),
        (b"iTXt", b"parameters\0\1\0de\0Parameter\0" + zlib.compress("größer €".encode())),
        (b"tEXt", b"Comment\0hello"),
    )
    source = read_picture(path)
    assert source.text == (
        *(Text("Author", "José"), Text("workflow", '{"a": 1}')),
        *(Text("parameters", "größer €", "de", "Parameter"), Text("Comment", "hello")),
    )
    write_picture(source, tmp_path / "again.png")
    assert read_picture(tmp_path / "again.png").text == source.text
    with Image.open(tmp_path / "again.png") as image:
        assert image.text["parameters"] == "größer €"
        assert image.text["Author"] == "José"


def raw_profile(kind: str, data: bytes) -> tuple[bytes, bytes]:
    return b"tEXt", f"Raw profile type {kind}\0\n{kind}\n{len(data):8}\n{data.hex()}\n".encode()


def test_raw_profiles_become_metadata(tmp_path):
    iptc = b"\x1c\x02\x78\0\x03abc"
    damaged = b"tEXt", b"Raw profile type exif\0\nexif\n 9\nxyz\n"
    exif, xmp = raw_profile("exif", b"Exif\0\0" + plain_exif()), raw_profile("xmp", XMP)
    source = read_picture(png_with(tmp_path, exif, xmp, raw_profile("iptc", iptc), damaged))
    assert source.exif == plain_exif()
    assert source.xmp == XMP
    assert photoshop.iptc_of(source.iptc) == iptc
    assert [note.kind for note in source.notes] == ["text"]  # the damaged one
    assert source.text == ()


def test_a_text_that_grows_without_end_is_left_out(tmp_path):
    bomb = zlib.compress(bytes(20 * 2**20), 9)
    source = read_picture(png_with(tmp_path, (b"zTXt", b"bomb\0\0" + bomb)))
    assert source.text == ()
    assert [note.kind for note in source.notes] == ["text"]


def test_content_credentials_are_left_out_with_a_note(tmp_path):
    assert [note.kind for note in read_picture(png_with(tmp_path, (b"caBX", b"jumb"))).notes] == ["credentials"]


def test_clipping_paths_stay_where_the_picture_was_not_turned():
    block = photoshop.packed(0x07D0, b"path", b"12345") + photoshop.packed(0x0409, b"", b"thumbnail")
    assert photoshop.carried(block, upright=True) == photoshop.packed(0x07D0, b"path", b"12345")
    assert photoshop.carried(block, upright=False) is None
    assert list(photoshop.resources(block + b"8BIM damaged")) == [
        (0x07D0, b"path", b"12345"),
        (0x0409, b"", b"thumbnail"),
    ]
