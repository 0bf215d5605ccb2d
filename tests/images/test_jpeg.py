"""JPEG: gain maps and other further pictures, the quality of the source, comments."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tinysr_core.errors import RequestError
from tinysr_core.images import FORMATS, Picture, Text, jpeg, read_picture, write_picture
from tinysr_core.images.encoders import COARSEST

HDR = "http://ns.adobe.com/hdr-gain-map/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
MAP_XMP = f'<a xmlns:hdrgm="{HDR}" hdrgm:Version="1.0" hdrgm:GainMapMax="2.5"/>'.encode()


def main_xmp(length: int, motion: bool = False) -> bytes:
    item = 'rdf:parseType="Resource"'
    video = ' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"' if motion else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:Container="{CONTAINER}" xmlns:Item="{CONTAINER}item/" xmlns:hdrgm="{HDR}"'
        f' hdrgm:Version="1.0"{video}><Container:Directory><rdf:Seq>'
        f'<rdf:li {item}><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
        f'<rdf:li {item}><Container:Item Item:Semantic="GainMap" Item:Length="{length}"/></rdf:li>'
        "</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def ultra_hdr(orientation: int = 1, code: int = 0, second: bytes | None = None) -> bytes:
    """A simple Ultra HDR file: the map is dark on the left and bright on the right."""
    shades = np.repeat(np.array([[40, 40, 200, 200]], np.uint8), 3, 0)
    second = second or saved(Image.fromarray(np.kron(shades, np.ones((8, 8), np.uint8))), xmp=MAP_XMP)
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.new("RGB", (64, 48), (100, 150, 200))
    index = struct.pack(">4sHHI", b"MPF\0", 0x4D4D, 42, 8) + struct.pack(">H", 3)
    index += struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    index += struct.pack(">HHII", 0xB002, 7, 32, 50) + struct.pack(">I", 0)
    marker = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
    head = struct.pack(">BBH", 255, 0xE2, len(marker) + 2) + marker
    head += struct.pack(">BBH", 255, 0xE2, len(index) + 32 + 2) + index
    data = saved(image, xmp=main_xmp(len(second)), exif=exif, extra=head + bytes(32))
    start = data.index(b"MPF\0") + 4
    entries = struct.pack(">IIIHH", 0x20030000, len(data), 0, 0, 0)
    entries += struct.pack(">IIIHH", code, len(second), len(data) - start, 0, 0)
    return data[: start + 50] + entries + data[start + 82 :] + second


def doubled(picture: Picture) -> Picture:
    import dataclasses

    return dataclasses.replace(picture, pixels=picture.pixels.repeat(2, -1).repeat(2, -2))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_gain_map_is_upscaled_turned_and_written_back(tmp_path, orientation):
    (tmp_path / "hdr.jpg").write_bytes(ultra_hdr(orientation))
    source = read_picture(tmp_path / "hdr.jpg")
    assert source.notes == ()
    assert write_picture(doubled(source), tmp_path / "large.jpg") == ()

    data = (tmp_path / "large.jpg").read_bytes()
    ((code, gain_map),) = jpeg.multi_pictures(data)
    assert code == 0
    assert data.endswith(gain_map)
    assert data[: len(data) - len(gain_map)].endswith(b"\xff\xd9")
    assert f'Item:Length="{len(gain_map)}"'.encode() in data
    assert MAP_XMP in gain_map
    assert b"urn:iso:std:iso:ts:21496:-1" in data[: data.index(b"\xff\xdb")]
    with Image.open(io.BytesIO(gain_map)) as image:
        samples = np.asarray(image).astype(int)
    assert samples.shape == ((48, 64) if orientation == 1 else (64, 48))
    dark, bright = (samples[:, 8], samples[:, -8]) if orientation == 1 else (samples[8], samples[-8])
    assert abs(dark - 40).max() < 5
    assert abs(bright - 200).max() < 5
    assert read_picture(tmp_path / "large.jpg").gain_map is not None


@pytest.mark.parametrize("key", [key for key in FORMATS if key != "jpeg"])
def test_where_no_gain_map_can_be_written_one_note_says_so(tmp_path, key):
    (tmp_path / "hdr.jpg").write_bytes(ultra_hdr())
    notes = write_picture(read_picture(tmp_path / "hdr.jpg"), tmp_path / f"a.{key}")
    assert [note.kind for note in notes if note.kind == "gain map"] == ["gain map"]
    again = read_picture(tmp_path / f"a.{key}")
    assert again.xmp is None or (b"hdrgm:Version" not in again.xmp and b"Container:Directory" not in again.xmp)


def test_a_damaged_gain_map_costs_only_itself(tmp_path):
    broken = saved(Image.new("L", (32, 24)), xmp=MAP_XMP)[:250] + b"\xff\xd9"
    (tmp_path / "hdr.jpg").write_bytes(ultra_hdr(second=broken))
    source = read_picture(tmp_path / "hdr.jpg")
    assert [note.kind for note in write_picture(source, tmp_path / "a.jpg")] == ["gain map"]
    assert jpeg.multi_pictures((tmp_path / "a.jpg").read_bytes()) == []


def test_previews_are_dropped_and_other_pictures_are_noted(tmp_path):
    other = saved(Image.new("RGB", (8, 8)))
    (tmp_path / "a.jpg").write_bytes(ultra_hdr(code=0x010002, second=other))
    assert [note.kind for note in read_picture(tmp_path / "a.jpg").notes] == ["gain map"]  # the XMP announces one
    (tmp_path / "a.jpg").write_bytes(ultra_hdr(code=0x020002, second=other))
    assert [note.kind for note in read_picture(tmp_path / "a.jpg").notes] == ["frames", "gain map"]


def test_the_video_of_a_motion_photo_is_left_out_with_a_note(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.new("RGB", (8, 8)), xmp=main_xmp(9, motion=True)) + b"video")
    source = read_picture(tmp_path / "a.jpg")
    assert "video" in [note.kind for note in source.notes]
    assert b"MotionPhoto" not in source.xmp.replace(b"MotionPhoto_", b"")


# quality


def test_a_jpeg_of_a_jpeg_is_compressed_like_its_source(tmp_path):
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8))
    for quality, subsampling in ((92, 0), (85, 1), (76, 2)):
        noise.save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
        write_picture(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg")
        with Image.open(tmp_path / "a.jpg") as source, Image.open(tmp_path / "b.jpg") as result:
            assert result.quantization == source.quantization
            assert [layer[1:3] for layer in result.layer] == [layer[1:3] for layer in source.layer]


def test_a_coarse_source_gives_quality_75_and_an_asked_one_wins(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg", quality=40)
    Image.new("RGB", (64, 64)).save(tmp_path / "75.jpg", quality=75)
    Image.new("RGB", (64, 64)).save(tmp_path / "97.jpg", quality=97)
    source = read_picture(tmp_path / "a.jpg")
    for name, quality in (("75.jpg", None), ("97.jpg", 97)):
        write_picture(source, tmp_path / "b.jpg", quality=quality)
        with Image.open(tmp_path / name) as wanted, Image.open(tmp_path / "b.jpg") as result:
            assert result.quantization == wanted.quantization
    with Image.open(tmp_path / "75.jpg") as image:
        assert sum(image.quantization[0]) == COARSEST


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_an_asked_subsampling_wins(tmp_path, subsampling):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg", subsampling="4:2:2")
    write_picture(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg", subsampling=subsampling)
    result = read_picture(tmp_path / "b.jpg")
    assert result.jpeg.subsampling == subsampling
    with pytest.raises(RequestError, match="4:1:1"):
        write_picture(result, tmp_path / "c.jpg", subsampling="4:1:1")


def test_grey_and_one_table_are_no_problem(tmp_path):
    Image.new("L", (16, 16), 9).save(tmp_path / "a.jpg", quality=90)
    write_picture(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    assert read_picture(tmp_path / "b.jpg").grey
    table = [[1 + step // 2 for step in range(64)]]
    Image.new("RGB", (16, 16), (9, 8, 7)).save(tmp_path / "a.jpg", qtables=table)
    write_picture(read_picture(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert list(image.quantization.values()) == table * 2


def test_comments_stay_and_a_long_one_is_noted(tmp_path):
    texts = (Text("Comment", "one"), Text("Comment", "zwei größer"))
    start = Picture(np.zeros((1, 3, 8, 8), np.float32), text=texts)
    assert write_picture(start, tmp_path / "a.jpg") == ()
    assert read_picture(tmp_path / "a.jpg").text == texts
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", comment="Jos\xe9".encode("latin-1"))
    assert read_picture(tmp_path / "b.jpg").text == (Text("Comment", "José"),)
    start = Picture(np.zeros((1, 3, 8, 8), np.float32), text=(Text("Comment", "x" * 70_000),))
    assert [note.kind for note in write_picture(start, tmp_path / "a.jpg")] == ["comments"]
