"""XMP is copied; sizes, orientation, regions and references to other parts of the file are corrected."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinysr_core.images import Picture, read_picture, write_picture, xmp

SPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" '
    'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" '
    'xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#" '
    'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
)


def packet(attributes: str = "", inside: str = "") -> str:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {SPACES}><rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    )


def test_sizes_in_both_spellings_become_those_of_the_result():
    for text in (
        packet('tiff:ImageWidth="4" exif:PixelYDimension=\'3\' xmp:Rating="5"'),
        packet(
            inside="<tiff:ImageWidth>4</tiff:ImageWidth><exif:PixelYDimension>3</exif:PixelYDimension>"
            "<xmp:Rating>5</xmp:Rating>"
        ),
    ):
        result = xmp.stamped(text, 30, 40, (3, 4))
        wanted = text.replace('"4"', '"40"').replace("'3'", "'30'").replace(">4<", ">40<").replace(">3<", ">30<")
        assert result == wanted


def test_any_prefix_is_understood():
    text = packet().replace("xmlns:tiff", "xmlns:t").replace('rdf:about=""', 'rdf:about="" t:ImageWidth="4"')
    assert 't:ImageWidth="40"' in xmp.stamped(text, 30, 40, (3, 4))


def test_other_numbers_are_unchanged():
    text = packet('dc:title="tiff:ImageWidth=&quot;4&quot;"', "<!-- <tiff:ImageWidth>4</tiff:ImageWidth> --><dc:x/>")
    assert xmp.stamped(text, 30, 40, (3, 4)) == text


def test_captions_keep_their_line_ends():
    text = packet('dc:caption="one&#xA;two"')
    assert xmp.upright(text, 6, 3, 4) == text


@pytest.mark.parametrize("turn", range(1, 9))
def test_face_regions_are_turned_like_the_pixels(turn):
    """A region around one bright pixel is around that pixel in the upright picture too."""
    height, width, row, column = 4, 5, 1, 3
    stored = np.zeros((height, width), np.uint8)
    stored[row, column] = 255
    area = f'stArea:x="{(column + 0.5) / width}" stArea:y="{(row + 0.5) / height}" stArea:w="0.2" stArea:h="0.25"'
    box = f"{column / width}, {row / height}, 0.2, 0.25"
    text = packet(
        f'tiff:Orientation="{turn}"',
        f'<mwg-rs:Area {area} stArea:unit="normalized"/><MPReg:Rectangle>{box}</MPReg:Rectangle>',
    )
    exif = Image.Exif()
    exif[0x112] = turn
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "PNG", exif=exif)
    upright = np.asarray(Image.open(stream) if turn == 1 else _transposed(Image.open(stream)))
    result = xmp.upright(text, turn, height, width)
    found = {name: _attribute(result, f"stArea:{name}") for name in "xywh"}
    high, wide = upright.shape
    y, x = np.argwhere(upright == 255)[0]
    assert (found["x"], found["y"]) == pytest.approx(((x + 0.5) / wide, (y + 0.5) / high))
    assert (found["w"], found["h"]) == pytest.approx((1 / wide, 1 / high))
    rectangle = [float(part) for part in result.split("<MPReg:Rectangle>")[1].split("<")[0].split(",")]
    assert rectangle == pytest.approx([x / wide, y / high, 1 / wide, 1 / high])
    assert 'tiff:Orientation="1"' in result


def _transposed(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _attribute(text: str, name: str) -> float:
    return float(text.split(f'{name}="')[1].split('"')[0])


def test_regions_and_panoramas_in_pixels_are_scaled():
    text = packet(
        'GPano:FullPanoWidthPixels="400" GPano:CroppedAreaTopPixels="10"',
        '<mwg-rs:Area stArea:x="10" stArea:y="20" stArea:w="4" stArea:h="6" stArea:unit="pixel"/>'
        '<mwg-rs:AppliedToDimensions stDim:w="100" stDim:h="50" stDim:unit="pixel"/>',
    )
    result = xmp.stamped(text, 100, 300, (50, 100))
    for expected in ('x="30"', 'y="40"', 'w="12"', 'h="12"', 'stDim:w="300"', 'stDim:h="100"',
                     'WidthPixels="1200"', 'TopPixels="20"'):  # fmt: skip
        assert expected in result


def test_thumbnails_and_locations_are_removed():
    text = packet(
        'exif:GPSLatitude="48,8N" xmp:Rating="5"',
        "<xmp:Thumbnails><rdf:Alt><rdf:li>base64</rdf:li></rdf:Alt></xmp:Thumbnails><exif:GPSAltitude>1</exif:GPSAltitude>",
    )
    assert xmp.without_gps(xmp.upright(text, 1, 3, 4)) == packet('xmp:Rating="5"').replace('""  xmp', '"" xmp')


def test_long_packets_are_split_for_jpeg_and_joined_again(tmp_path):
    blocks = "".join(f'<rdf:Description rdf:about="" dc:n="{i}">{"x" * 30_000}</rdf:Description>' for i in range(5))
    text = packet('xmp:Rating="4"').replace("</rdf:RDF>", blocks + "</rdf:RDF>")
    start = Picture(np.zeros((1, 3, 8, 8), np.float32), xmp=text.encode())
    assert write_picture(start, tmp_path / "a.jpg") == ()
    again = read_picture(tmp_path / "a.jpg")
    assert again.notes == ()
    for index in range(5):
        assert f'dc:n="{index}">{"x" * 30_000}<'.encode() in again.xmp
    assert b'xmp:Rating="4"' in again.xmp
    assert b"HasExtendedXMP" not in again.xmp
    data = (tmp_path / "a.jpg").read_bytes()
    assert b'xmp:Rating="4"' in data[: data.index(b"http://ns.adobe.com/xmp/extension/")]  # stays in the main packet

    damaged = data.replace(b"x" * 1000, b"y" * 1000)
    (tmp_path / "b.jpg").write_bytes(damaged)
    again = read_picture(tmp_path / "b.jpg")
    assert [note.kind for note in again.notes] == ["xmp"]
    assert b'xmp:Rating="4"' in again.xmp


@pytest.mark.parametrize("data", [b"<a", b"\xff\xfe", b"\x00\x80", b'<!DOCTYPE a [<!ENTITY b "c">]><a/>'])
def test_damaged_xmp_is_left_out_with_a_note(tmp_path, data):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.webp", xmp=data)
    picture = read_picture(tmp_path / "a.webp")
    assert picture.xmp is None
    assert [note.kind for note in picture.notes] == ["xmp"]


def test_utf_16_becomes_utf_8():
    assert xmp.decoded(packet('dc:t="größer"').encode("utf-16")) == packet('dc:t="größer"')
    with pytest.raises(ValueError, match="document type"):
        xmp.decoded("<!DOCTYPE a><a/>".encode("utf-16"))


PIECES = [*"<>/\"'= &;x:", "", "<!--", "]]>"]


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_packets_are_refused_or_patched(data):
    text = list(packet('tiff:ImageWidth="4" exif:GPSLatitude="1"', '<mwg-rs:Area stArea:x="1" stArea:unit="pixel"/>'))
    for _ in range(data.draw(st.integers(1, 5))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(PIECES))
    try:
        found = xmp.decoded("".join(text).encode())
    except ValueError:
        return
    for changed in (xmp.upright(found, 6, 3, 4), xmp.stamped(found, 30, 40, (3, 4)), xmp.without_gps(found),
                    xmp.without_parts(found), xmp.with_map_length(found, 9)):  # fmt: skip
        assert xmp.decoded(changed.encode()) == changed
    xmp.orientation(found)
    xmp.split(found, 100)
