"""Reading and writing of pictures that are made by code, checked against Pillow, tifffile and imagecodecs."""

import dataclasses
import errno
import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational

from tinysr_core.errors import PictureError, RequestError
from tinysr_core.images import FORMATS, Picture, read_picture, write_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]  # only its header is read
LOSSLESS = ["png", "tiff", "webp"]


def ramp(height: int, width: int, channels: int, white: int = 255) -> np.ndarray:
    """[H,W,channels] integers up to `white`, all different enough to notice any turn or swap."""
    values = np.random.default_rng(7).integers(0, white + 1, (height, width, channels))
    return values.astype(np.uint8 if white == 255 else np.uint16)


def picture_of(samples: np.ndarray, **more: object) -> Picture:
    """A Picture of [H,W,1..4] integers."""
    white = np.iinfo(samples.dtype).max
    planes = (np.moveaxis(samples, -1, 0)[None] / white).astype(np.float32)
    colours = 3 if planes.shape[1] >= 3 else 1
    alpha = planes[:, colours:] if planes.shape[1] > colours else None
    return Picture(planes[:, :colours], alpha, bits=8 if white == 255 else 16, **more)


def samples_of(picture: Picture, white: int = 255) -> np.ndarray:
    """[H,W,channels] integers of a Picture, by the simplest formula."""
    planes = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha], 1)
    return np.moveaxis(np.rint(planes[0].astype(np.float64) * white), 0, -1).astype(np.uint16)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def camera_exif(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = orientation, "Camera"
    exif[IFD.Exif] = {
        Base.ExifImageWidth: 4,
        Base.ExifImageHeight: 3,
        Base.ExposureTime: IFDRational(1, 250),
        Base.MakerNote: b"\1\2\3",
    }
    exif[IFD.GPSInfo] = {1: "N", 2: (48.0, 8.0, 14.5)}
    return exif


def loaded(exif: bytes | None) -> Image.Exif:
    result = Image.Exif()
    result.load(exif or b"")
    return result


# reading: channels and depths


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("white", [255, 65535])
def test_integers_of_any_layout_are_read_exactly(tmp_path, channels, suffix, white):
    codecs, tifffile = pytest.importorskip("imagecodecs"), pytest.importorskip("tifffile")
    samples = ramp(9, 5, channels, white)
    path = tmp_path / f"picture{suffix}"
    if suffix == ".png":
        path.write_bytes(codecs.png_encode(samples))
    else:
        extra = ["unassalpha"] if channels in (2, 4) else []
        photometric = "rgb" if channels >= 3 else "minisblack"
        squeezed = samples[..., 0] if channels == 1 else samples
        tifffile.imwrite(path, squeezed, photometric=photometric, extrasamples=extra, planarconfig="contig")
    picture = read_picture(path)
    assert picture.bits == (8 if white == 255 else 16)
    assert picture.grey == (channels <= 2)
    assert picture.notes == ()
    np.testing.assert_array_equal(samples_of(picture, white), samples)
    for plane in (picture.pixels, picture.alpha):
        assert plane is None or (plane.dtype == np.float32 and plane.flags.c_contiguous)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_floating_point_tiff_is_read(tmp_path, dtype, channels):
    tifffile = pytest.importorskip("tifffile")
    values = (ramp(6, 4, channels) / 255).astype(dtype)
    extra = ["unassalpha"] if channels == 4 else []
    path = tmp_path / "float.tif"
    tifffile.imwrite(
        path,
        values[..., 0] if channels == 1 else values,
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=extra,
        compression="zlib",
    )
    picture = read_picture(path)
    assert picture.bits == 32
    np.testing.assert_array_equal(picture.pixels[0, 0], values[..., 0].astype(np.float32))
    assert (picture.alpha is None) == (channels != 4)


def test_values_outside_the_range_are_clipped_with_a_note(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.array([[[-0.5, 0.25, 3.0], [np.nan, 1.0, np.inf]]], np.float32)
    tifffile.imwrite(tmp_path / "hdr.tif", values, photometric="rgb")
    picture = read_picture(tmp_path / "hdr.tif")
    np.testing.assert_array_equal(np.moveaxis(picture.pixels[0], 0, -1), [[[0, 0.25, 1], [0, 1, 1]]])
    assert picture.notes == ("Values outside 0 to 1 were limited to that range.",)


def test_tiff_planes_white_is_zero_and_premultiplied_alpha(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(6, 4, 3, 65535)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(samples, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(samples_of(read_picture(tmp_path / "planes.tif"), 65535), samples)

    tifffile.imwrite(tmp_path / "white.tif", np.array([[[0, 65535]]], np.uint16), photometric="miniswhite",
                     extrasamples=["unassalpha"], planarconfig="contig")  # fmt: skip
    inverted = read_picture(tmp_path / "white.tif")
    assert (inverted.pixels.item(), inverted.alpha.item()) == (1, 1)

    pixel = np.array([[[10000, 20000, 0, 40000]]], np.uint16)
    tifffile.imwrite(tmp_path / "premultiplied.tif", pixel, photometric="rgb", extrasamples=["assocalpha"])
    straight = read_picture(tmp_path / "premultiplied.tif")
    np.testing.assert_allclose(straight.pixels[0, :, 0, 0], [0.25, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize("white", [255, 65535])
def test_bigtiff_is_read(tmp_path, white):
    tifffile = pytest.importorskip("tifffile")
    samples = ramp(6, 4, 3, white)
    tifffile.imwrite(tmp_path / "big.tif", samples, photometric="rgb", bigtiff=True, byteorder="<")
    np.testing.assert_array_equal(samples_of(read_picture(tmp_path / "big.tif"), white), samples)


def test_lost_bits_are_noted(tmp_path):
    codecs = pytest.importorskip("imagecodecs")
    samples = np.full((16, 16, 3), 512, np.uint16)
    (tmp_path / "ten.avif").write_bytes(codecs.avif_encode(samples, bitspersample=10))
    picture = read_picture(tmp_path / "ten.avif")
    assert picture.notes == ("10 bits per channel were read as 8.",)
    np.testing.assert_allclose(picture.pixels, 0.5, atol=0.01)


def test_palette_one_bit_and_transparent_colours_are_expanded(tmp_path):
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.putdata([0, 1])
    picture = read_picture(saved(tmp_path / "p.png", indexed, transparency=1))
    np.testing.assert_array_equal(samples_of(picture)[0], [[255, 0, 0, 255], [0, 0, 255, 0]])

    grey_palette = Image.new("P", (2, 1))
    grey_palette.putpalette([9, 9, 9, 200, 200, 200])
    grey_palette.putdata([0, 1])
    np.testing.assert_array_equal(samples_of(read_picture(saved(tmp_path / "g.png", grey_palette)))[0], [[9], [200]])

    line_art = Image.new("1", (2, 1))
    line_art.putpixel((1, 0), 1)
    np.testing.assert_array_equal(samples_of(read_picture(saved(tmp_path / "1.png", line_art)))[0], [[0], [255]])

    keyed = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    picture = read_picture(saved(tmp_path / "key.png", keyed, transparency=(4, 5, 6)))
    np.testing.assert_array_equal(samples_of(picture)[0], [[1, 2, 3, 255], [4, 5, 6, 0]])

    deep = Image.fromarray(np.array([[300, 40000]], np.uint16))
    picture = read_picture(saved(tmp_path / "deep.png", deep, transparency=300))
    np.testing.assert_array_equal(samples_of(picture, 65535)[0], [[300, 0], [40000, 65535]])


def test_sixteen_bits_without_the_extra_are_read_as_eight_with_a_note(tmp_path, monkeypatch):
    path = tmp_path / "deep.png"
    write_picture(picture_of(ramp(3, 4, 3, 65535)), path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    picture = read_picture(path)
    assert picture.bits == 8
    assert picture.notes == (
        '16 bits per channel were read as 8 (to keep them: `pip install ".[formats]"` in TinySR\'s folder).',
    )


def test_a_tiff_beyond_pillow_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "float.tif"
    write_picture(dataclasses.replace(picture_of(ramp(3, 4, 3)), bits=32), path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PictureError, match=r"pip install \"\.\[formats\]\""):
        read_picture(path)


def test_heic_is_read_and_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(np.repeat(np.repeat(ramp(4, 6, 3), 16, 0), 16, 1))
    exif = camera_exif(6)
    heif.from_pillow(image).save(tmp_path / "phone.heic", exif=exif.tobytes(), quality=-1)
    picture = read_picture(tmp_path / "phone.heic")
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert picture.pixels.shape == (1, 3, 96, 64)
    assert abs(samples_of(picture).astype(int) - upright).mean() < 3
    assert loaded(picture.exif)[Base.Make] == "Camera"
    assert loaded(picture.exif)[Base.Orientation] == 1
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"HEIC picture; to read it: `pip install"):
        read_picture(tmp_path / "phone.heic")


def test_only_the_first_frame_is_read_with_a_note(tmp_path):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "a.png", "a.webp", "a.tif", "a.avif"):
        picture = read_picture(saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:]))
        np.testing.assert_allclose(picture.pixels[0, :, 0, 0], [1, 0, 0], atol=0.03)
        assert picture.notes == ("Only the first of 3 frames was read.",), name


# reading: colour


def cmyk_profile() -> bytes:
    """A minimal ICC v2 output profile: lightness falls with black only half way, other inks do nothing."""
    clut = bytearray()
    for corner in range(16):  # cyan slowest, black fastest
        clut += bytes([255 if corner % 2 == 0 else 128, 128, 128])
    identity = bytes(range(256))
    matrix = b"".join(struct.pack(">i", 65536 * (index % 4 == 0)) for index in range(9))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(clut) + identity * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    tags, body = [(b"A2B0", table), (b"A2B1", table), (b"wtpt", white)], b""
    directory, start = struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += b"\0" * (-len(data) % 4)
        directory += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", 0, b"\0" * 4, 0x02400000, b"prtr", b"CMYK", b"Lab ").ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    profile = header.ljust(128, b"\0") + directory + body
    return struct.pack(">I", len(profile)) + profile[4:]


@pytest.mark.parametrize("name", ["c.tif", "c.jpg"])
def test_cmyk_is_converted_through_its_profile(tmp_path, name):
    image = Image.new("CMYK", (16, 8), (0, 255, 0, 255))  # magenta does nothing in that profile
    picture = read_picture(saved(tmp_path / name, image, icc_profile=cmyk_profile(), quality=100))
    assert picture.notes == ("CMYK was converted to sRGB through its profile.",)
    assert ImageCms.ImageCmsProfile(io.BytesIO(picture.icc)).profile.xcolor_space.strip() == "RGB"
    # black is L* = 50.2 in the profile; black-point compensation makes it the darkest, so plain CMYK's red cast is gone
    assert np.ptp(samples_of(picture)[0, 0].astype(int)) <= 2

    for useless in (None, SRGB, cmyk_profile()[:200]):
        plain = read_picture(saved(tmp_path / name, image, quality=100, icc_profile=useless))
        assert plain.notes[0].startswith("CMYK without a usable profile was converted")
        assert ImageCms.ImageCmsProfile(io.BytesIO(plain.icc)).profile.xcolor_space.strip() == "RGB"


def test_lab_is_converted(tmp_path):
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (138, 128, 128)])  # L* = 54
    picture = read_picture(saved(tmp_path / "lab.tif", lab))
    np.testing.assert_allclose(samples_of(picture)[0, 0], [129, 129, 129], atol=3)
    assert picture.notes == ("Lab was converted to sRGB.",)


def test_a_profile_that_does_not_fit_is_left_out_with_a_note(tmp_path):
    grey = Image.new("L", (2, 2))
    assert read_picture(saved(tmp_path / "a.png", grey, icc_profile=GREY_PROFILE)).icc == GREY_PROFILE
    picture = read_picture(saved(tmp_path / "b.png", grey, icc_profile=SRGB))
    assert picture.icc is None
    assert picture.notes == ("The colour profile is for RGB and does not fit the picture; it was left out.",)
    picture = read_picture(saved(tmp_path / "c.png", Image.new("RGB", (2, 2)), icc_profile=b"nonsense"))
    assert picture.notes == ("The colour profile is damaged; it was left out.",)


# reading: EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_orientation_is_applied_exactly_once(tmp_path, orientation, suffix):
    image = Image.fromarray(ramp(3, 4, 4))
    turns = [None, *(Image.Transpose[name] for name in (
        "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"
    ))]  # fmt: skip
    turn = turns[orientation - 1]
    upright = np.asarray(image if turn is None else image.transpose(turn))
    path = saved(tmp_path / f"a{suffix}", image, exif=camera_exif(orientation).tobytes(), lossless=True, exact=True)
    picture = read_picture(path)
    np.testing.assert_array_equal(samples_of(picture), upright)

    for name in ("again.png", "again.tif"):
        write_picture(picture, tmp_path / name)
        again = read_picture(tmp_path / name)
        np.testing.assert_array_equal(samples_of(again), upright)
        assert loaded(again.exif).get(Base.Orientation, 1) == 1


def test_sixteen_bit_pictures_are_turned_and_carry_exif(tmp_path):
    codecs, tifffile = pytest.importorskip("imagecodecs"), pytest.importorskip("tifffile")
    samples = ramp(3, 4, 3, 65535)
    data = codecs.png_encode(samples)
    exif = camera_exif(8).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    (tmp_path / "early.png").write_bytes(data[:33] + chunk + data[33:])
    (tmp_path / "late.png").write_bytes(data[:-12] + chunk + data[-12:])  # after the pixels, as some tools write it
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", iccprofile=SRGB, resolution=(300, 300),
                     resolutionunit="inch", extratags=[(274, "H", 1, 8), (271, "s", 0, "Camera")])  # fmt: skip
    for name in ("early.png", "late.png", "a.tif"):
        picture = read_picture(tmp_path / name)
        np.testing.assert_array_equal(samples_of(picture, 65535), np.rot90(samples))
        assert loaded(picture.exif)[Base.Make] == "Camera", name
    assert (picture.icc, picture.dpi) == (SRGB, (300, 300))


def test_exif_keeps_only_what_describes_the_picture(tmp_path):
    exif = camera_exif(1).tobytes()
    image = Image.new("RGB", (4, 3))
    tiff = read_picture(saved(tmp_path / "a.tif", image, exif=exif))
    jpeg = read_picture(saved(tmp_path / "a.jpg", image, exif=exif))
    for picture in (tiff, jpeg):
        carried = loaded(picture.exif)
        assert set(carried) <= {Base.Orientation, Base.Make, IFD.Exif, IFD.GPSInfo}
        assert carried.get_ifd(IFD.Exif)[Base.MakerNote] == b"\1\2\3"
        assert carried.get_ifd(IFD.GPSInfo)[2] == (48.0, 8.0, 14.5)
        assert carried.get_ifd(IFD.IFD1) == {}


def test_the_thumbnail_is_dropped(tmp_path):
    small = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(small, "JPEG")
    main = struct.pack("<H", 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 3, 0) + struct.pack("<I", 26)
    first = struct.pack("<H", 2) + struct.pack("<HHII", 513, 4, 1, 56) + struct.pack("<HHII", 514, 4, 1, small.tell())
    raw = b"Exif\0\0II*\0" + struct.pack("<I", 8) + main + first + b"\0" * 4 + small.getvalue()
    assert loaded(raw).get_ifd(IFD.IFD1)[513] == 56
    picture = read_picture(saved(tmp_path / "a.jpg", Image.new("RGB", (4, 3)), exif=raw))
    assert picture.exif is not None
    assert small.getvalue() not in picture.exif
    assert loaded(picture.exif).get_ifd(IFD.IFD1) == {}


@pytest.mark.parametrize("key", FORMATS)
def test_exif_profile_and_resolution_survive_in_every_format_that_can(tmp_path, key):
    path = tmp_path / f"b.{key}"
    exif = camera_exif(1).tobytes()
    notes = write_picture(picture_of(ramp(30, 40, 3), icc=SRGB, exif=exif, dpi=(300, 150)), path)
    picture = read_picture(path)
    assert picture.dpi == pytest.approx((300, 150), rel=1e-3)
    if key == "bmp":
        assert [note.kind for note in notes] == ["profile", "exif"]
        return
    assert notes == ()
    assert picture.icc == SRGB
    carried = loaded(picture.exif)
    details = carried.get_ifd(IFD.Exif)
    assert carried[Base.Make] == "Camera"
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (40, 30)  # the new size, not 4 x 3
    assert details[Base.ExposureTime] == pytest.approx(1 / 250)
    assert carried.get_ifd(IFD.GPSInfo)[1] == "N"
    with Image.open(path) as other:  # what other programs see
        other.load()
        assert other.getexif().get_ifd(IFD.Exif)[Base.MakerNote] == b"\1\2\3"


def test_resolution_alone_survives_too(tmp_path):
    for key in FORMATS:
        write_picture(picture_of(ramp(3, 4, 3), dpi=(72, 72)), tmp_path / f"a.{key}")
        assert read_picture(tmp_path / f"a.{key}").dpi == pytest.approx((72, 72), rel=1e-3)


def test_damaged_exif_does_not_lose_the_picture(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (4, 3)), exif=b"Exif\0\0not a tiff structure")
    picture = read_picture(path)
    assert picture.pixels.shape == (1, 3, 3, 4)
    assert picture.notes == ("The EXIF data is damaged and was left out.",)


# reading: damaged and foreign files


@pytest.mark.parametrize("key", FORMATS)
def test_truncated_files_are_refused(tmp_path, key):
    path = tmp_path / f"a.{key}"
    write_picture(picture_of(ramp(200, 200, 3)), path)
    whole = path.read_bytes()
    for kept in (len(whole) * 2 // 3, 200, 30, 12):
        path.write_bytes(whole[:kept])
        with pytest.raises(PictureError, match=r"damaged|not a picture"):
            read_picture(path, strict=True)


def test_a_jpeg_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path):
    samples = np.repeat(np.repeat(ramp(20, 20, 3), 16, 0), 16, 1)
    for progressive in (False, True):
        Image.fromarray(samples).save(tmp_path / "a.jpg", quality=90, progressive=progressive)
        whole = (tmp_path / "a.jpg").read_bytes()
        (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
        picture = read_picture(tmp_path / "a.jpg")
        assert [note.kind for note in picture.notes] == ["truncated"]
        assert picture.pixels.shape == (1, 3, 320, 320)
        assert abs(samples_of(picture)[:100].astype(int) - samples[:100]).mean() < (60 if progressive else 8)
        with pytest.raises(PictureError, match="truncated"):
            read_picture(tmp_path / "a.jpg", strict=True)
    start_of_scan = whole.index(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(whole[: start_of_scan + 14])  # no pixel is there
    with pytest.raises(PictureError, match="truncated"):
        read_picture(tmp_path / "a.jpg")


def test_truncated_sixteen_bit_files_are_refused(tmp_path):
    pytest.importorskip("imagecodecs")
    for name in ("a.png", "a.tif"):
        path = tmp_path / name
        write_picture(picture_of(ramp(200, 200, 3, 65535)), path)
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(PictureError, match="damaged"):
            read_picture(path)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_is_an_error_or_a_picture_never_a_crash(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    key = data.draw(st.sampled_from(["png", "jpeg", "tiff", "webp", "bmp", "deep.png", "deep.tiff"]))
    path = folder / f"flipped.{key}"
    white = 65535 if "deep" in key else 255
    write_picture(picture_of(ramp(5, 7, 3, white), exif=camera_exif().tobytes(), icc=SRGB[:400]), path)
    broken = bytearray(path.read_bytes())
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    try:
        picture = read_picture(path, max_pixels=10_000)
    except PictureError:
        return
    assert np.isfinite(picture.pixels).all()


def test_empty_folder_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("This is not a picture. " * 20)
    for name, sentence in {
        "empty.png": r"is empty \(0 bytes\)",
        "text.jpg": "is not a picture",
        "missing.png": "There is no file",
        "": "is a folder",
    }.items():
        with pytest.raises(PictureError, match=sentence):
            read_picture(tmp_path / name)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("L", (1, 1)))

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root, which may run the tests, ignores file modes
    with pytest.raises(PictureError, match=r"cannot be read: Permission denied\."):
        read_picture(path)


def test_the_content_decides_not_the_name(tmp_path):
    path = saved(tmp_path / "really_a_png.jpg", Image.fromarray(ramp(3, 4, 3)), format="PNG")
    np.testing.assert_array_equal(samples_of(read_picture(path)), ramp(3, 4, 3))


@pytest.mark.parametrize("key", FORMATS)
def test_bombs_are_refused_before_they_are_decoded(tmp_path, key, monkeypatch):
    path = tmp_path / f"a.{key}"
    write_picture(picture_of(ramp(64, 64, 3)), path)
    read_picture(path, max_pixels=64 * 64)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(PictureError, match="64 x 64 pixels"):
        read_picture(path, max_pixels=64 * 64 - 1)


def test_a_png_that_claims_to_be_huge_costs_nothing(tmp_path):
    path = saved(tmp_path / "bomb.png", Image.new("1", (1, 1)))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 1_000_000, 1_000_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"1000000 x 1000000 pixels.*256 megapixels"):
        read_picture(path)


# writing


@pytest.mark.parametrize("key", LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (3, 4000), (129, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_eight_bits_come_back_exactly(tmp_path, key, size, channels):
    path = tmp_path / f"a.{key}"
    samples = ramp(*size, channels)
    assert write_picture(picture_of(samples), path, quality=100) == ()
    picture = read_picture(path)
    if key == "webp" and channels <= 2:  # has no grey: three equal channels
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], -1)
    if picture.alpha is None and channels == 4 and key == "webp":  # libwebp drops alpha that is opaque everywhere
        assert (samples[..., 3] == 255).all()
        samples = samples[..., :3]
    np.testing.assert_array_equal(samples_of(picture), samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (300, 7)])
def test_sixteen_bits_come_back_exactly_in_other_programs_too(tmp_path, suffix, channels, size):
    codecs, tifffile = pytest.importorskip("imagecodecs"), pytest.importorskip("tifffile")
    path = tmp_path / f"a{suffix}"
    samples = ramp(*size, channels, 65535)
    assert write_picture(picture_of(samples), path) == ()
    other = codecs.png_decode(path.read_bytes()) if suffix == ".png" else tifffile.imread(path)
    np.testing.assert_array_equal(np.reshape(other, samples.shape), samples)
    np.testing.assert_array_equal(samples_of(read_picture(path), 65535), samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_any_number_of_threads_writes_the_same_file(tmp_path, monkeypatch, suffix):
    picture = picture_of(ramp(1000, 9, 3))
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        write_picture(picture, tmp_path / f"{threads}{suffix}")
    assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"3{suffix}").read_bytes()


def test_a_png_holds_one_whole_zlib_stream(tmp_path):
    samples = ramp(300, 5, 3)
    write_picture(picture_of(samples), tmp_path / "a.png")
    data, at, stream = (tmp_path / "a.png").read_bytes(), 8, b""
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            stream += data[at + 8 : at + 8 + length]
        at += 12 + length
    inflate = zlib.decompressobj()
    assert len(inflate.decompress(stream)) == 300 * (1 + 5 * 3)  # the checksum is right, or this fails
    assert inflate.eof
    assert not inflate.unused_data


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_comes_back_exactly(tmp_path, channels):
    pytest.importorskip("tifffile")
    values = np.random.default_rng(1).random((1, channels, 200, 5), np.float32)
    write_picture(Picture(values, bits=32), tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.bits == 32
    np.testing.assert_array_equal(picture.pixels, values)


@pytest.mark.parametrize(("key", "tolerance"), [("jpeg", 2), ("webp", 4), ("avif", 4)])
def test_lossy_formats_are_close_by_default(tmp_path, key, tolerance):
    rows, columns = np.mgrid[0:64, 0:96]
    samples = np.stack([rows * 4, columns * 2, 255 - rows - columns], -1).astype(np.uint8)
    write_picture(picture_of(samples), tmp_path / "a", format=key)
    assert abs(samples_of(read_picture(tmp_path / "a")).astype(int) - samples).mean() < tolerance


READS_GREY_AVIF = tuple(map(int, PIL.__version__.split(".")[:2])) >= (12, 3)
"""Earlier ones read grey AVIF files as RGB."""
STAYS_GREY = {"jpeg": True, "avif": READS_GREY_AVIF, "bmp": True, "webp": False}


@pytest.mark.parametrize(("key", "stays_grey"), STAYS_GREY.items())
def test_grey_with_and_without_alpha_can_be_written_everywhere(tmp_path, key, stays_grey):
    samples = np.full((16, 16, 2), 100, np.uint8)
    path = tmp_path / f"a.{key}"
    write_picture(picture_of(samples[..., :1]), path)
    picture = read_picture(path)
    assert picture.grey == stays_grey
    np.testing.assert_allclose(samples_of(picture), 100, atol=2)
    write_picture(picture_of(samples), path)
    picture = read_picture(path)
    assert (picture.alpha is not None) == (key in ("avif", "webp"))
    np.testing.assert_allclose(samples_of(picture)[0, 0, 0], 100 if picture.alpha is not None else 194, atol=2)


@given(st.floats(-0.5, 1.5, width=32))
@settings(max_examples=50, deadline=None)
def test_values_are_rounded_to_nearest_and_limited(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "rounded.png"
    for bits, white in ((8, 255), (16, 65535)):
        write_picture(Picture(np.full((1, 1, 1, 1), value, np.float32), bits=bits), path)
        with Image.open(path) as image:
            written = int(np.asarray(image).item())
        assert abs(written - min(max(value, 0), 1) * white) <= 0.5 + 1e-2
        assert written in (0, white) or 0 < value < 1


def test_halves_are_rounded_up(tmp_path):
    write_picture(Picture(np.full((1, 1, 1, 1), 0.5, np.float32)), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).item() == 128


def test_what_a_format_cannot_hold_is_noted(tmp_path):
    picture = Picture(np.zeros((1, 3, 2, 2), np.float32), np.full((1, 1, 2, 2), 0.5, np.float32), bits=16)
    assert write_picture(picture, tmp_path / "a.jpg") == (
        "JPEG holds 8 bits per channel; the picture's 16 were rounded to that.",
        "JPEG holds no transparency; the picture was put on white.",
    )
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg").pixels, 0.5, atol=0.01)  # half black on white
    opaque = dataclasses.replace(picture, alpha=np.ones((1, 1, 2, 2), np.float32), bits=8)
    assert write_picture(opaque, tmp_path / "a.jpg") == ()
    floating = dataclasses.replace(picture, bits=32)
    assert write_picture(floating, tmp_path / "a.png") == (
        "PNG holds 16 bits per channel; the picture's 32 were rounded to that.",
    )
    grey = Picture(np.zeros((1, 1, 2, 2), np.float32), icc=GREY_PROFILE)
    assert "grey colour profile was left out" in write_picture(grey, tmp_path / "a.webp")[0]
    long_exif = Image.Exif()
    long_exif[Base.Make] = "x" * 70_000
    assert "larger than a JPEG can hold" in write_picture(
        dataclasses.replace(opaque, exif=long_exif.tobytes()), tmp_path / "a.jpg"
    )[0]  # fmt: skip


def test_what_cannot_be_written_is_refused(tmp_path):
    picture = picture_of(ramp(2, 3, 3))
    with pytest.raises(PictureError, match=r"a\.xyz.*png, jpeg, webp, tiff, avif, bmp"):
        write_picture(picture, tmp_path / "a.xyz")
    with pytest.raises(PictureError, match="'gif'"):
        write_picture(picture, tmp_path / "a.png", format="gif")
    with pytest.raises(RequestError, match="quality is 0"):
        write_picture(picture, tmp_path / "a.jpg", quality=0)
    with pytest.raises(PictureError, match=r"16383.*16384 x 1; write PNG"):
        write_picture(Picture(np.zeros((1, 1, 1, 16384), np.float32)), tmp_path / "a.webp")
    with pytest.raises(PictureError, match="NaN"):
        write_picture(Picture(np.full((1, 1, 1, 1), np.nan, np.float32)), tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "folder.png", tmp_path / "missing" / "a.png"):
        with pytest.raises(PictureError, match="cannot be written"):
            write_picture(picture, path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_an_unwritable_folder_is_refused(tmp_path, monkeypatch):
    def refuse(self: Path, mode: str = "r", *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PictureError, match=r"a\.png cannot be written: Permission denied\."):
        write_picture(picture_of(ramp(2, 3, 3)), tmp_path / "a.png")


@pytest.mark.parametrize("key", FORMATS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, key):
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    path = tmp_path / f"a.{key}"
    path.write_bytes(b"precious")
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old_limit[1]))  # writing beyond 4096 bytes raises OSError
    try:
        with pytest.raises(PictureError, match="cannot be written"):
            write_picture(picture_of(ramp(300, 300, 3)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


# memory


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_memory_stays_near_the_picture_itself(tmp_path, suffix, bits, request, monkeypatch):
    """tracemalloc counts numpy's memory, but not Pillow's 8-bit copy (4 bytes per pixel)."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # each thread holds a band
    request.addfinalizer(tracemalloc.stop)
    pixels = 2000 * 1500
    picture = Picture(np.full((1, 3, 1500, 2000), 0.3, np.float32), bits=bits)
    tracemalloc.start()
    write_picture(picture, tmp_path / f"a{suffix}")
    written = tracemalloc.get_traced_memory()[1]
    assert written < 3 * pixels + 18_000_000
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read_picture(tmp_path / f"a{suffix}")
    read = tracemalloc.get_traced_memory()[1] - before
    assert read < (12 + (6 if bits == 16 else 0)) * pixels + 15_000_000
