"""Hostile files of every format become a picture or a PictureError."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tinysr_core.errors import PictureError
from tinysr_core.images import Picture, Text, from_pil, photoshop, read_picture, write_picture

from .test_exif import camera_exif
from .test_jpeg import ultra_hdr


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, bytes]:
    """One small file of each format that carries everything."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "hdr.jpeg").write_bytes(ultra_hdr(6))
    picture = read_picture(folder / "hdr.jpeg")
    everything = Picture(
        np.random.default_rng(2).random((1, 3, 20, 24), np.float32),
        **{"icc": None, "exif": camera_exif(), "xmp": picture.xmp, "dpi": (300, 300), "gain_map": picture.gain_map},
        iptc=photoshop.packed(photoshop.IPTC, b"name", b"\x1c\x02\x78\0\x03abc"),
        text=(Text("Title", "größer €"), Text("Comment", "abc")),
        colour=picture.colour,
    )
    for key in ("png", "jpeg", "webp", "tiff", "avif", "bmp"):
        write_picture(everything, folder / f"a.{key}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_never_end_in_anything_but_a_picture_or_an_error(tmp_path_factory, sources, data):
    folder = tmp_path_factory.getbasetemp() / "hostile"
    folder.mkdir(exist_ok=True)
    name = data.draw(st.sampled_from(sorted(sources)))
    content = bytearray(sources[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(content), 3000) - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 255, 128, content[at] ^ 1, content[at] ^ 16]))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(12, len(content))) :]
    (folder / name).write_bytes(content)
    try:
        picture = read_picture(folder / name, max_pixels=100_000)
        for key in ("png", "jpeg", "tiff"):
            write_picture(picture, folder / f"result.{key}", keep=data.draw(st.sampled_from(["all", "no-gps"])))
    except PictureError:
        pass
    assert not [path for path in folder.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="no pixels"):
        from_pil(Image.new("RGB", size))


@pytest.mark.parametrize("per_metre", [0, -1, 2**31 - 1, 40_000_000])
def test_a_resolution_that_no_format_holds_is_left_out(tmp_path, per_metre):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    struct.pack_into("<ii", data, 38, per_metre, per_metre)  # BITMAPINFOHEADER
    (tmp_path / "a.bmp").write_bytes(data)
    picture = read_picture(tmp_path / "a.bmp")
    assert picture.dpi is None
    for suffix in ("bmp", "jpg", "png", "tif", "webp"):
        write_picture(picture, tmp_path / f"b.{suffix}")
