"""Kinds of TIFF and of files: read correctly, or refused with their name."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tinysr_core.errors import PictureError
from tinysr_core.images import FORMATS, read_picture, write_picture

tifffile = pytest.importorskip("tifffile")


def read(folder, samples, **options):
    tifffile.imwrite(folder / "a.tif", samples, **options)
    return read_picture(folder / "a.tif")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_samples_run_from_the_lowest_value_to_the_highest(tmp_path, channels, bits):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    samples = np.array([[[lowest] * channels, [0] * channels, [highest] * channels]], f"i{bits // 8}")
    photometric = "rgb" if channels == 3 else "minisblack"
    picture = read(tmp_path, samples if channels == 3 else samples[..., 0], photometric=photometric)
    np.testing.assert_allclose(picture.pixels[0, 0, 0], [0, 0.5, 1], atol=0.003)
    assert picture.bits == bits
    assert [note.kind for note in picture.notes] == ["converted"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_bigtiff_is_read_and_written_as_anything(tmp_path, order, dtype):
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    samples = (np.random.default_rng(5).random((5, 7, 3)) * white).astype(dtype)
    picture = read(tmp_path, samples, photometric="rgb", bigtiff=True, byteorder=order, software="scanner")
    np.testing.assert_allclose(np.moveaxis(picture.pixels[0], 0, -1), samples / white, atol=1e-6)
    assert b"scanner" in picture.exif
    assert b"shape" not in picture.exif  # tifffile's description of the old size
    for key in FORMATS:
        write_picture(picture, tmp_path / f"b.{key}")
        assert read_picture(tmp_path / f"b.{key}").pixels.shape == picture.pixels.shape


@pytest.mark.parametrize(("photometric", "dtype"), [("cielab", "u2"), ("icclab", "u1"), ("icclab", "u2")])
def test_lab_is_converted_as_littlecms_does(tmp_path, photometric, dtype):
    values = np.array([[54, 0, 0], [60, 40, -30], [80, -50, 60], [20, 10, 10]], np.float64)
    step = 256 if dtype == "u2" else 1
    if photometric == "cielab":
        stored = np.stack([values[:, 0] / 100 * 65535, *(values[:, 1:] * 256).T], 1).round().astype(np.int32)
        stored = stored.astype(np.uint16)
    else:
        stored = np.stack([values[:, 0] * 2.55 * step, *((values[:, 1:] + 128) * step).T], 1).round().astype(dtype)
    picture = read(tmp_path, stored[None], photometric=photometric)
    assert [note.kind for note in picture.notes] == ["converted"]
    assert picture.bits == (16 if dtype == "u2" else 8)

    lab = np.stack([values[:, 0] * 2.55, *(values[:, 1:] + 128).T], 1).round().astype(np.uint8)
    bands = [Image.fromarray(lab[None, :, channel].copy()) for channel in range(3)]
    profiles = [ImageCms.createProfile(name) for name in ("LAB", "sRGB")]
    transform = ImageCms.buildTransform(*profiles, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    wanted = np.asarray(ImageCms.applyTransform(Image.merge("LAB", bands), transform))
    np.testing.assert_allclose(np.moveaxis(picture.pixels[0], 0, -1) * 255, wanted, atol=3)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("colours", [1, 3])
def test_premultiplied_alpha_is_divided_out(tmp_path, dtype, colours):
    white = 1.0 if dtype == "f4" else float(np.iinfo(dtype).max)
    straight = np.full((4, 5, colours), 0.8)
    alpha = np.linspace(0, 1, 20).reshape(4, 5, 1)
    stored = (np.concatenate([straight * alpha, alpha], -1) * white).astype(dtype)
    picture = read(
        *(tmp_path, stored),
        **{"photometric": "rgb" if colours == 3 else "minisblack", "extrasamples": ["assocalpha"]},
        planarconfig="contig",
    )
    np.testing.assert_allclose(picture.alpha[0, 0], alpha[..., 0], atol=0.006)
    np.testing.assert_allclose(picture.pixels[0, 0][alpha[..., 0] > 0.2], 0.8, atol=0.02)


@pytest.mark.parametrize(
    ("photometric", "words"), [(32803, "camera raw data"), (10, "ITU Lab"), (32845, "LogLuv"), (4711, "4711")]
)
def test_other_colours_are_refused_by_name(tmp_path, photometric, words):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(struct.pack("<HHIH", 262, 3, 1, 2))
    struct.pack_into("<H", data, at + 8, photometric)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(PictureError, match=words):
        read_picture(tmp_path / "a.tif")


def test_complex_numbers_are_refused_by_name(tmp_path):
    with pytest.raises(PictureError, match="complex numbers"):
        read(tmp_path, np.zeros((4, 5), np.complex64))


@pytest.mark.parametrize("samples", [np.zeros((4, 5), np.int16), np.zeros((4, 5, 3), np.int16)])
def test_without_the_extra_signed_samples_are_refused(tmp_path, monkeypatch, samples):
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb" if samples.ndim == 3 else "minisblack")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PictureError, match="pip install"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PictureError, match="named pipe"):
        read_picture(tmp_path / "pipe.jpg")


def test_devices_and_long_names_are_refused(tmp_path):
    if Path("/dev/null").exists():
        with pytest.raises(PictureError, match="device"):
            read_picture("/dev/null")
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / ("n" * 300 + ".jpg"))


def test_noise_of_libraries_does_not_reach_the_terminal(tmp_path):
    """In a process of our own, after `silence_decoders`."""
    import subprocess
    import sys

    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)
    Image.fromarray(noise).save(stream, "TIFF", compression="tiff_deflate")
    data = bytearray(stream.getvalue())
    data[100:160] = bytes(60)
    (tmp_path / "a.tif").write_bytes(data)
    program = (
        "import sys; from tinysr_core.images import read_picture, silence_decoders\n"
        "silence_decoders()\n"
        "try: read_picture(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, file=sys.stderr)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, tmp_path / "a.tif"], capture_output=True, text=True)
    assert answer.stderr == "PictureError\n"
