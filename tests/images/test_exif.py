"""EXIF data is patched in place: every byte keeps its offset and value, except orientation, sizes and thumbnail."""

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinysr_core.images import Picture, exif, read_picture, write_picture
from tinysr_core.images.tiff import LONG, RATIONAL, SHORT, UNDEFINED, NewEntry, Tiff, header, packed_directory

ASCII, SRATIONAL = 2, 10
MAKER_NOTE_AT = 600
EXIF_FORMATS = ["jpg", "png", "webp", "tif", "avif"]


def camera_exif(order: str = "<", orientation: int = 6, thumbnail: bool = True) -> bytes:
    """EXIF like that of a camera, with a maker note at `MAKER_NOTE_AT` that has offsets into the whole block."""

    def entry(tag: int, kind: int, layout: str, *values: object) -> NewEntry:
        data = struct.pack(order + layout, *values)
        sizes = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SRATIONAL: 8}
        return NewEntry(tag, kind, len(data) // sizes[kind], data)

    details_at, gps_at, second_at, picture_at = 250, 480, 700, 800
    note = b"MAKER\0" + struct.pack(order + "I", MAKER_NOTE_AT + 10) + b"look here"
    artist = "José".encode() + b"\0"
    main = [
        entry(0x10E, ASCII, "12s", b"description\0"),
        entry(0x112, SHORT, "H", orientation),
        entry(0x11A, RATIONAL, "II", 72, 1),
        entry(0x11B, RATIONAL, "II", 72, 1),
        entry(0x128, SHORT, "H", 2),
        entry(0x13B, ASCII, f"{len(artist)}s", artist),
        entry(0x8769, LONG, "I", details_at),
        entry(0x8825, LONG, "I", gps_at),
        entry(0xC4A5, UNDEFINED, "3s", b"odd"),
    ]
    details = [
        entry(0x9204, SRATIONAL, "ii", -2, 3),
        entry(0x9286, UNDEFINED, "20s", b"UNICODE\0" + "parame".encode("utf-16-le")),
        entry(0xA002, SHORT, "H", 4),
        entry(0xA003, SHORT, "H", 3),
        entry(0xEA1C, UNDEFINED, "8s", b"padding!"),
    ]
    gps = [entry(1, ASCII, "2s", b"N\0"), entry(2, RATIONAL, "6I", 48, 1, 8, 1, 14, 1)]
    small = b"\xff\xd8" + b"thumbnail" * 5 + b"\xff\xd9"
    second = [entry(0x201, LONG, "I", picture_at), entry(0x202, LONG, "I", len(small))]

    block = bytearray(1000)
    block[:8] = header(order, 8)
    # the entry of the maker note is added by hand, because its value has a fixed offset
    note_entry = entry(0x927C, LONG, "I", MAKER_NOTE_AT)
    parts = {8: main, details_at: [*details, note_entry], gps_at: gps, second_at: second}
    for at, entries in parts.items():
        packed = packed_directory(order, entries, at)
        block[at : at + len(packed)] = packed
    place = bytes(block).index(struct.pack(order + "HHII", 0x927C, LONG, 1, MAKER_NOTE_AT))
    struct.pack_into(order + "HHI", block, place, 0x927C, UNDEFINED, len(note))
    block[MAKER_NOTE_AT : MAKER_NOTE_AT + len(note)] = note
    block[picture_at : picture_at + len(small)] = small
    if thumbnail:
        struct.pack_into(order + "I", block, 8 + 2 + 12 * len(main), second_at)
        del block[picture_at + len(small) :]
    else:
        del block[MAKER_NOTE_AT + len(note) :]
    return bytes(block)


def tags(block: bytes) -> dict[tuple[str, int], tuple[int, int, bytes]]:
    """Type, count and bytes of every value, by directory and tag."""
    tiff = Tiff(block)
    main = tiff.directory(tiff.first)
    found = {"main": main, "details": tiff.below(main, 0x8769), "gps": tiff.below(main, 0x8825)}
    return {
        (name, tag): (entry.type, entry.count, tiff.value(entry))
        for name, directory in found.items()
        if directory is not None
        for tag, entry in directory.entries.items()
        if tag not in (0x8769, 0x8825)
    }


CHANGED = {("main", 0x112), ("details", 0xA002), ("details", 0xA003)}


def picture(block: bytes, height: int = 30, width: int = 40) -> Picture:
    return Picture(np.full((1, 3, height, width), 0.5, np.float32), exif=exif.upright(block))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", EXIF_FORMATS)
def test_every_tag_is_byte_identical_and_the_maker_note_stays_at_its_offset(tmp_path, order, suffix):
    block = camera_exif(order)
    path = tmp_path / f"a.{suffix}"
    assert write_picture(picture(block), path) == ()
    again = read_picture(path).exif
    before, after = tags(block), tags(again)
    assert {key: value for key, value in before.items() if key not in CHANGED} == {
        key: value for key, value in after.items() if key not in CHANGED
    }
    assert again[MAKER_NOTE_AT : MAKER_NOTE_AT + 6] == b"MAKER\0"
    (inner,) = struct.unpack_from(order + "I", again, MAKER_NOTE_AT + 6)
    assert again[inner : inner + 9] == b"look here"
    assert after["details", 0xA002] == (SHORT, 1, struct.pack(order + "H", 40))
    assert after["details", 0xA003] == (SHORT, 1, struct.pack(order + "H", 30))
    if suffix != "avif":  # AVIF stores it outside EXIF
        assert after["main", 0x112] == (SHORT, 1, struct.pack(order + "H", 1))


@pytest.mark.parametrize("suffix", EXIF_FORMATS)
def test_other_programs_read_the_same(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_picture(picture(camera_exif()), path)
    with Image.open(path) as image:
        found = image.getexif()
        details, gps = found.get_ifd(0x8769), found.get_ifd(0x8825)
    assert details[0x9286] == b"UNICODE\0" + "parame".encode("utf-16-le")
    assert float(details[0x9204]) == pytest.approx(-2 / 3)
    assert gps[2] == (48, 8, 14)
    assert details[0xA002] == 40


def test_a_jpeg_keeps_all_bytes_but_those_of_three_values_and_the_thumbnail(tmp_path):
    block = camera_exif()
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    source = read_picture(tmp_path / "a.jpg")
    write_picture(source, tmp_path / "b.jpg")
    result = read_picture(tmp_path / "b.jpg").exif
    assert b"thumbnail" not in result
    different = [at for at in range(len(result)) if result[at] != block[at]]
    assert len(result) < len(block)
    entries = Tiff(block).directory(8).entries
    assert all(at in range(entries[0x112].at, entries[0x112].at + 12) or 8 + 2 + 9 * 12 <= at < 8 + 6 + 9 * 12
               or 250 <= at < 320 or at >= 700 for at in different)  # fmt: skip


def test_a_size_above_65535_becomes_long(tmp_path):
    result = exif.stamped(camera_exif(), 3, 70_000)
    assert tags(result)["details", 0xA002] == (LONG, 1, struct.pack("<I", 70_000))
    assert tags(result)["details", 0xA003] == (SHORT, 1, struct.pack("<H", 3))


def test_the_thumbnail_goes_even_when_it_is_not_the_end():
    block = camera_exif() + b"data that a maker note points to"
    result = exif.upright(block)
    assert b"thumbnail" not in result
    assert result.endswith(b"data that a maker note points to")
    assert Tiff(result).directory(8).next == 0


def test_the_place_can_be_left_out(tmp_path):
    block = camera_exif(thumbnail=False)
    result = exif.without_gps(block)
    assert not any(name == "gps" for name, _ in tags(result))
    assert struct.pack("<6I", 48, 1, 8, 1, 14, 1) not in result
    assert {key: value for key, value in tags(block).items() if key[0] != "gps"} == tags(result)
    assert len(result) == len(block)

    write_picture(picture(block), tmp_path / "a.jpg", keep="no-gps")
    assert not any(name == "gps" for name, _ in tags(read_picture(tmp_path / "a.jpg").exif))


def test_a_tiff_made_of_a_tiff_keeps_the_maker_note_where_it_was(tmp_path):
    write_picture(picture(camera_exif(">")), tmp_path / "a.tif")
    for name in ("b.tif", "c.tif", "d.jpg"):
        write_picture(read_picture(tmp_path / "a.tif"), tmp_path / name)
        again = read_picture(tmp_path / name).exif
        assert again[MAKER_NOTE_AT : MAKER_NOTE_AT + 6] == b"MAKER\0"
        assert tags(again)["details", 0x9204] == (SRATIONAL, 1, struct.pack(">ii", -2, 3))


@pytest.mark.parametrize("suffix", ["webp", "avif", "tif", "jpg"])
def test_generation_parameters_go_where_programs_look_for_them(tmp_path, suffix):
    from tinysr_core.images import Text

    text = (Text("parameters", "a cat, größer\nSteps: 20"),)
    for block in (None, exif.upright(camera_exif())):
        start = Picture(np.zeros((1, 3, 8, 8), np.float32), text=text, exif=block)
        notes = write_picture(start, tmp_path / f"a.{suffix}")
        assert [note.kind for note in notes] == ([] if block is None else ["text"])  # that EXIF has a comment already
        if block is None:
            with Image.open(tmp_path / f"a.{suffix}") as image:
                comment = image.getexif().get_ifd(0x8769)[0x9286]
            assert comment.startswith(b"UNICODE\0")
            assert comment[8:].decode("utf-16-le") == text[0].text


def test_exif_above_64_kb_is_too_much_for_a_jpeg_only(tmp_path):
    block = camera_exif(thumbnail=False) + bytes(70_000)
    for suffix in ("png", "tif", "webp", "avif"):
        assert write_picture(picture(block), tmp_path / f"a.{suffix}") == ()
    assert [note.kind for note in write_picture(picture(block), tmp_path / "a.jpg")] == ["exif"]


def test_exif_in_two_segments_is_joined(tmp_path):
    block = camera_exif(thumbnail=False)
    block += bytes(80_000 - len(block)) + b"the end"
    stream = io.BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "JPEG")
    parts = (block[:65_000], block[65_000:])
    segments = b"".join(struct.pack(">BBH", 255, 0xE1, len(part) + 8) + b"Exif\0\0" + part for part in parts)
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:2] + segments + stream.getvalue()[2:])
    assert read_picture(tmp_path / "a.jpg").exif.endswith(b"the end")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_exif_is_an_error_or_unchanged(data):
    """For any bytes, patching raises only ValueError, and moves nothing."""
    block = bytearray(camera_exif(data.draw(st.sampled_from("<>"))))
    for _ in range(data.draw(st.integers(1, 6))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    block = bytes(block[: data.draw(st.integers(0, len(block)))])
    try:
        exif.orientation(block)
        upright = exif.upright(block)
    except ValueError:
        return
    assert len(upright) <= len(block)
    assert len(exif.stamped(upright, 3, 4)) == len(upright)
    assert len(exif.without_gps(upright)) == len(upright)
    assert len(exif.without_orientation(upright)) == len(upright)
    exif.with_resolution(upright, (300, 300))
    exif.with_user_comment(upright, "text")
    exif.main_entries(upright)


@given(noise=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_noise_is_no_exif(noise):
    for start in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        with contextlib.suppress(ValueError):
            exif.upright(start + noise)


def test_a_picture_whose_exif_is_damaged_is_still_written(tmp_path):
    start = Picture(np.zeros((1, 3, 8, 8), np.float32), exif=b"nonsense")
    assert [note.kind for note in write_picture(start, tmp_path / "a.jpg", keep="all")] == ["exif"]
    assert [note.kind for note in write_picture(start, tmp_path / "a.jpg", keep="no-gps")] == ["exif"]
    assert write_picture(start, tmp_path / "a.jpg", keep="none") == ()
