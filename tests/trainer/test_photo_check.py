import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tinysr_core.trainer.photo_check import DataCheck, Finding, check_photos, inspect, sharpness

SIDE = 64


def scene(seed: int, side: int = 160) -> Image.Image:
    """Something with detail at every scale, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3))
    for cells, weight in ((3, 0.4), (8, 0.2), (side // 5, 0.15), (side // 2, 0.15), (side, 0.1)):
        layer = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += weight * np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC), float)
    return Image.fromarray(picture.astype(np.uint8))


def save(folder: Path, count: int, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:03}.png" for seed in range(first, first + count)]
    for seed, path in enumerate(paths, first):
        scene(seed).save(path)
    return paths


def reasons(check: DataCheck) -> dict[str, str]:
    return {finding.path.name: finding.reason for finding in check.findings if finding.use == "none"}


def test_what_is_not_used_and_why(tmp_path: Path) -> None:
    good = save(tmp_path, 6)
    scene(10).resize((60, 200)).save(tmp_path / "small.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    stream = io.BytesIO()
    scene(11).save(stream, "JPEG", quality=95)
    (tmp_path / "cut.jpg").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    scene(12).filter(ImageFilter.GaussianBlur(2)).save(tmp_path / "blurred.png")
    scene(13).resize((80, 80), Image.Resampling.BICUBIC).resize((160, 160), Image.Resampling.BICUBIC).save(
        tmp_path / "enlarged.png"
    )
    Image.new("RGB", (100, 100), "grey").save(tmp_path / "flat.png")
    scene(14).save(tmp_path / "poor.jpg", quality=20)
    (tmp_path / "again.png").write_bytes(good[0].read_bytes())
    check = check_photos(sorted(tmp_path.iterdir()), SIDE)
    soft = "soft, or enlarged already"
    assert reasons(check) == {
        "again.png": "copy of another",
        "small.png": "too small",
        "broken.jpg": "cannot be read",
        "cut.jpg": "cannot be read",
        "blurred.png": soft,
        "enlarged.png": soft,
        "flat.png": soft,
        "poor.jpg": "strong JPEG",
    }
    assert len(check.training) == 4
    assert len(check.validation) == 2
    assert check.problem is None
    forced = check_photos(sorted(tmp_path.iterdir()), SIDE, use_all=True)
    assert set(reasons(forced)) == {"again.png", "small.png", "broken.jpg", "cut.jpg"}
    assert {f.reason for f in forced.findings if f.path.name in ("poor.jpg", "flat.png")} == {"strong JPEG", soft}


def test_a_large_soft_photograph_is_sharp_after_shrinking(tmp_path: Path) -> None:
    scene(0).resize((320, 320), Image.Resampling.BICUBIC).save(tmp_path / "phone.png")
    assert inspect(tmp_path / "phone.png", SIDE).sharpness < 0.1
    assert inspect(tmp_path / "phone.png", SIDE, megapixels=0.03).sharpness > 0.15
    assert "shrunk by 2; 200 are needed" in inspect(tmp_path / "phone.png", 200, megapixels=0.03).detail


def test_the_split_is_by_contents_and_keeps_likenesses_together(tmp_path: Path) -> None:
    photos = save(tmp_path, 20)
    for seed in range(20):
        scene(seed).resize((140, 140)).save(tmp_path / f"{seed:03} small.webp", quality=95)
    photos = sorted(tmp_path.iterdir())
    check = check_photos(photos, SIDE)
    assert len(check.validation) == 4
    kept = {path.name[:3] for path in check.validation}
    assert len(kept) == 2
    assert not kept & {path.name[:3] for path in check.training}
    likenesses = [finding for finding in check.findings if finding.reason == "much like another"]
    assert {finding.detail for finding in likenesses} == {str(path) for path in photos if path.suffix == ".webp"}
    for number, path in enumerate(reversed(photos)):
        path.rename(path.with_name(f"{number:03} {path.name}"))
    renamed = check_photos(sorted(tmp_path.iterdir()), SIDE)
    assert sorted(path.name[4:] for path in renamed.validation) == sorted(path.name for path in check.validation)


def test_more_photographs_change_the_split_little(tmp_path: Path) -> None:
    photos = save(tmp_path, 24)
    before = set(check_photos(photos[:21], SIDE).validation)
    after = set(check_photos(photos, SIDE).validation)
    assert (len(before), len(after)) == (2, 2)
    assert after <= before | set(photos[21:])


def test_photographs_given_for_validation_are_not_trained_on(tmp_path: Path) -> None:
    photos, kept = save(tmp_path / "train", 8), save(tmp_path / "val", 2, first=50)
    (tmp_path / "train" / "copy.png").write_bytes(kept[0].read_bytes())
    scene(51).resize((120, 120)).save(tmp_path / "train" / "like.png")
    check = check_photos(sorted((tmp_path / "train").iterdir()), SIDE, validation=kept)
    assert check.validation == kept
    assert check.training == photos
    assert reasons(check) == {"copy.png": "copy of another", "like.png": "much like one to validate with"}


def test_too_few(tmp_path: Path) -> None:
    check = check_photos(save(tmp_path, 3), SIDE)
    assert check.problem is not None and check.problem.startswith("Only 3 of 3 photographs can be used")
    assert check_photos(save(tmp_path, 4), SIDE).problem is None


def test_photographs_that_are_all_alike_are_not_split(tmp_path: Path) -> None:
    for quality in range(80, 100, 4):
        scene(0).save(tmp_path / f"{quality}.jpg", quality=quality)
    check = check_photos(sorted(tmp_path.iterdir()), SIDE)
    assert (len(check.training), len(check.validation)) == (5, 0)


def test_every_finding_is_written_down(tmp_path: Path) -> None:
    check = DataCheck([Finding(Path("a\udcff, b.png"), "none", "too small", "1 x 1"), Finding(Path("c.png"))])
    check.write(tmp_path / "photos.csv")
    rows = list(csv.DictReader((tmp_path / "photos.csv").open(encoding="utf-8")))
    assert [(row["path"], row["use"], row["reason"]) for row in rows] == [
        ("a\\udcff, b.png", "none", "too small"),
        ("c.png", "training", ""),
    ]


@pytest.mark.parametrize("shape", [(64, 64), (16, 300), (65, 64)])
def test_sharpness_of_any_size(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(sharpness(pixels))


def test_a_hundred_thousand_tiny_files_and_a_panorama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred here. Files that are too small are not decoded, and only their findings stay in memory."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    tiny = [tmp_path / f"{i}.png" for i in range(300)]
    for path in tiny:
        path.write_bytes(stream.getvalue())
    Image.effect_noise((30000, 300), 50).save(tmp_path / "panorama.png", compress_level=0)
    check = check_photos([*tiny, tmp_path / "panorama.png"], SIDE, megapixels=4)
    assert set(reasons(check)) == {path.name for path in tiny}
    panorama = check.findings[-1]
    assert (panorama.width, panorama.height) == (30000, 300)
