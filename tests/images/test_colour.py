"""Colour tags: PNG and AVIF keep them, other formats get an equivalent ICC profile (checked with LittleCMS)."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from tinysr_core.images import ColourTags, Picture, colour, read_picture, write_picture

ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
CASES = {
    "cicp_p3": ColourTags(cicp=(12, 13, 0, 1)),
    "cicp_pq": ColourTags(cicp=(9, 16, 0, 1)),
    "cicp_hlg": ColourTags(cicp=(9, 18, 0, 1), light_level=bytes(8)),
    "gama1": ColourTags(gamma=100_000),
    "gama_chrm_adobe": ColourTags(gamma=45_455, chromaticities=ADOBE),
    "srgb": ColourTags(srgb=1, gamma=45_455),
}


def chunks(path):
    data, at, found = path.read_bytes(), 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def png(folder, *extra):
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (200, 100, 50)).save(stream, "PNG")
    data = stream.getvalue()
    middle = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in extra)
    (folder / "tagged.png").write_bytes(data[:33] + middle + data[33:])
    return folder / "tagged.png"


@pytest.mark.parametrize("name", CASES)
def test_png_keeps_its_chunks_byte_for_byte(tmp_path, name):
    tags = CASES[name]
    written = {
        b"cICP": None if tags.cicp is None else bytes(tags.cicp),
        b"sRGB": None if tags.srgb is None else bytes([tags.srgb]),
        b"gAMA": None if tags.gamma is None else struct.pack(">I", tags.gamma),
        b"cHRM": None if tags.chromaticities is None else struct.pack(">8I", *tags.chromaticities),
        b"mDCV": bytes(range(24)),
        b"cLLI": bytes(range(8)),
    }
    extra = [(key, value) for key, value in written.items() if value is not None]
    source = read_picture(png(tmp_path, *extra))
    assert write_picture(source, tmp_path / "again.png") == ()
    found = chunks(tmp_path / "again.png")
    assert {key: found[key] for key, _ in extra} == dict(extra)
    assert list(found).index(b"IDAT") > max(list(found).index(key) for key, _ in extra)


def converted(icc: bytes, rgb: tuple[int, int, int]) -> np.ndarray:
    transform = ImageCms.buildTransform(
        *(ImageCms.ImageCmsProfile(io.BytesIO(icc)), SRGB, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    )
    return np.asarray(ImageCms.applyTransform(Image.new("RGB", (1, 1), rgb), transform))[0, 0]


def to_srgb(matrix: np.ndarray, linear: np.ndarray) -> np.ndarray:
    values = (matrix @ linear).clip(0, 1)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055) * 255


P3_TO_SRGB = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
ADOBE_TO_SRGB = np.array([[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]])


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
def test_other_formats_get_a_profile_that_shows_the_same_colours(tmp_path, suffix):
    rgb = (200, 100, 50)
    encoded = np.array(rgb) / 255
    srgb_linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    wanted = {
        "cicp_p3": to_srgb(P3_TO_SRGB, srgb_linear),
        "gama1": to_srgb(np.eye(3), encoded),
        "gama_chrm_adobe": to_srgb(ADOBE_TO_SRGB, encoded**2.2),
    }
    for name, colours in wanted.items():
        start = Picture(np.full((1, 3, 8, 8), 0.5, np.float32), colour=CASES[name])
        assert write_picture(start, tmp_path / f"a.{suffix}") == ()
        np.testing.assert_allclose(converted(read_picture(tmp_path / f"a.{suffix}").icc, rgb), colours, atol=2.5)


def test_pq_and_hlg_are_kept():
    for code, middle, linear in ((16, 0.5081, 0.01), (18, 0.5, 1 / 12)):  # PQ 0.5081 is 100 of 10,000 cd/m²
        icc = colour.profile_of(ColourTags(cicp=(9, code, 0, 1)), grey=False)
        at = icc.index(b"curv\0\0\0\0")
        (count,) = struct.unpack_from(">I", icc, at + 8)
        samples = np.frombuffer(icc, ">u2", count, at + 12)
        assert np.interp(middle * (count - 1), np.arange(count), samples) / 65535 == pytest.approx(linear, abs=3e-4)
        assert icc[icc.index(b"cicp\0\0\0\0") + 8 :][:4] == bytes((9, code, 0, 1))


def test_avif_stores_colour_tags_as_nclx(tmp_path):
    start = Picture(np.full((1, 3, 8, 8), 0.5, np.float32), colour=CASES["cicp_pq"])
    write_picture(start, tmp_path / "a.avif")
    again = read_picture(tmp_path / "a.avif")
    assert again.colour.cicp == (9, 16, 0, 1)
    np.testing.assert_allclose(again.pixels, 0.5, atol=0.01)
    write_picture(again, tmp_path / "b.png")
    assert chunks(tmp_path / "b.png")[b"cICP"] == bytes((9, 16, 0, 1))


@pytest.mark.parametrize(
    "tags",
    [ColourTags(), CASES["srgb"], ColourTags(gamma=45_455, chromaticities=SRGB_PRIMARIES), ColourTags(gamma=45_455)],
)
def test_srgb_needs_no_profile(tmp_path, tags):
    start = Picture(np.full((1, 3, 8, 8), 0.5, np.float32), colour=tags)
    assert write_picture(start, tmp_path / "a.jpg") == ()
    assert read_picture(tmp_path / "a.jpg").icc is None


def test_an_icc_profile_outranks_gamma_but_not_cicp(tmp_path):
    icc = SRGB.tobytes()
    for tags, kept in ((CASES["gama1"], True), (CASES["cicp_pq"], False)):
        start = Picture(np.full((1, 3, 8, 8), 0.5, np.float32), icc=icc, colour=tags)
        write_picture(start, tmp_path / "a.jpg")
        assert (read_picture(tmp_path / "a.jpg").icc == icc) == kept


def test_grey_gets_a_grey_profile(tmp_path):
    start = Picture(np.full((1, 1, 8, 8), 0.5, np.float32), colour=CASES["gama1"])
    assert write_picture(start, tmp_path / "a.jpg") == ()
    again = read_picture(tmp_path / "a.jpg")
    assert again.grey
    assert again.icc[16:20] == b"GRAY"


@pytest.mark.parametrize(
    "tags",
    [
        ColourTags(cicp=(9, 10, 0, 1)),
        ColourTags(cicp=(77, 13, 0, 1)),
        ColourTags(cicp=(1, 13, 0, 0)),
        ColourTags(gamma=50_000, chromaticities=(0,) * 8),
        ColourTags(gamma=50_000, chromaticities=(31270, 32900, 1, 1, 1, 1, 1, 1)),
        ColourTags(gamma=1),
    ],
)
def test_tags_without_an_equivalent_profile_are_noted(tmp_path, tags):
    start = Picture(np.full((1, 3, 8, 8), 0.5, np.float32), colour=tags)
    assert [note.kind for note in write_picture(start, tmp_path / "a.jpg")] == ["colour"]
    assert write_picture(start, tmp_path / "a.png") == ()
