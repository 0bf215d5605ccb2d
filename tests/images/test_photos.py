import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.errors import DataError, PictureError
from tinysr_core.images.photos import PhotoCache, decode, fingerprint, list_photos, map_photos


def noise(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed=seed)).save(path)
    return path


def test_folders_are_searched_with_care(tmp_path: Path) -> None:
    kept = [write(tmp_path / name) for name in ("Ünïcode 写真 .png", "b/deep/c.JPG", "b/d.webp")]
    for name in (".hidden.png", "._d.png", ".git/e.png", "runs/previews/f.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "folder.png").mkdir()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    found = list_photos([tmp_path, tmp_path / "b"], leave_out=tmp_path / "runs")
    assert found == sorted([*kept, tmp_path / "lost.png", tmp_path / "self.png"])
    for path in set(found) - set(kept):
        with pytest.raises(PictureError, match=path.name):
            decode(path)


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is not a folder"):
        list_photos([tmp_path / "none"])
    with pytest.raises(DataError, match="no photographs"):
        list_photos([tmp_path])


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.png", seed=1), write(tmp_path / "b.png", seed=2)
    c = tmp_path / "x" / "c.png"
    c.parent.mkdir()
    c.write_bytes(a.read_bytes())
    assert fingerprint([a, b]) == fingerprint([b, c])
    assert fingerprint([a, b]) != fingerprint([a, a])


def test_every_kind_becomes_upright_rgb_of_8_bits(tmp_path: Path) -> None:
    rgb = noise()
    grey = rgb[..., 0]
    as_rgb = np.repeat(grey[..., None], 3, -1)
    half = np.dstack([rgb, np.full(grey.shape, 51, np.uint8)])
    turned = Image.Exif()
    turned[0x0112] = 6
    cases: dict[str, tuple[Image.Image, dict[str, object], np.ndarray]] = {
        "rgb.png": (Image.fromarray(rgb), {}, rgb),
        "grey.png": (Image.fromarray(grey), {}, as_rgb),
        "palette.png": (Image.fromarray(as_rgb).quantize(256, dither=Image.Dither.NONE), {}, as_rgb),
        "sixteen.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}, as_rgb),
        "alpha.png": (Image.fromarray(half), {}, 127.5 + (rgb - 127.5) * 0.2),
        "turned.tif": (Image.fromarray(rgb), {"exif": turned}, np.rot90(rgb, -1)),
        "cmyk.tif": (Image.fromarray(rgb).convert("CMYK"), {}, rgb),
    }
    for name, (image, options, wanted) in cases.items():
        image.save(tmp_path / name, **options)
        pixels = decode(tmp_path / name)
        assert pixels.dtype == np.uint8, name
        assert np.abs(pixels - wanted.astype(float)).max() <= (3 if name == "palette.png" else 1), name


def test_a_large_photograph_is_shrunk_by_a_whole_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    assert decode(path, 0.0024).shape == (40, 60, 3)
    assert decode(path, 0.0023).shape == (20, 30, 3)
    assert decode(path, 0.0005).shape == (13, 20, 3)


def test_the_cache_holds_what_was_decoded_and_is_made_once(tmp_path: Path) -> None:
    photos = [write(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    file = tmp_path / "cache"
    cache = PhotoCache(photos, file)
    made = file.stat().st_mtime_ns
    for again in (cache, PhotoCache(photos, file), pickle.loads(pickle.dumps(cache))):
        for photo in photos:
            np.testing.assert_array_equal(again[photo], decode(photo))
    assert file.stat().st_mtime_ns == made
    assert len(pickle.dumps(cache)) < 2000
    part: object = cache[photos[0]]
    while isinstance(part, np.ndarray):
        part = part.base
    assert isinstance(part, mmap.mmap)  # only the parts in use are in memory
    assert PhotoCache(photos, file, 0.001)[photos[0]].shape == (20, 30, 3)
    write(photos[1], 9)
    np.testing.assert_array_equal(PhotoCache(photos, file)[photos[1]], noise(seed=9))
    cache.remove()
    assert not file.exists()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be stored in .*nowhere"):
        PhotoCache([write(tmp_path / "a.png")], tmp_path / "nowhere" / "cache")


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    photo = write(tmp_path / "a.png")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        PhotoCache([photo], tmp_path / "cache")
    assert list(tmp_path.iterdir()) == [photo]


def test_photographs_are_mapped_in_order_and_one_by_one_where_they_are_huge(tmp_path: Path) -> None:
    photos = [write(tmp_path / f"{seed:03}.png", seed) for seed in range(70)]
    assert list(map_photos(lambda photo: photo.name, photos)) == [photo.name for photo in photos]
