from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tinysr_core.errors import DataError, PictureError
from tinysr_core.images.photos import list_photos
from tinysr_core.trainer.degrade import DegradeConfig
from tinysr_core.trainer.patches import DataConfig, PatchDataset, batches


def write_photo(path: Path, width: int = 120, height: int = 96, seed: int = 0, low: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(low, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def as_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_is_cut_from_the_whole_photo_shrunk_by_pillow(tmp_path: Path, scale: int) -> None:
    path = write_photo(tmp_path / "a.png")
    dataset = PatchDataset([path], scale, DataConfig(patch=8, flips=False), seed=1, cache=tmp_path / "cache")
    whole = Image.open(path)
    small = np.asarray(whole.resize((whole.width // scale, whole.height // scale), Image.Resampling.BICUBIC))
    large = np.asarray(whole)
    for index in range(20):
        lr, hr = (as_array(patch) for patch in dataset[index])
        places = [
            (y, x)
            for y in range(small.shape[0] - 7)
            for x in range(small.shape[1] - 7)
            if np.array_equal(hr, large[scale * y : scale * (y + 8), scale * x : scale * (x + 8)])
        ]
        assert len(places) == 1
        y, x = places[0]
        np.testing.assert_array_equal(lr, small[y : y + 8, x : x + 8])


def test_rotation_brings_no_black_corners(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "bright.png", 200, 200, low=200)
    dataset = PatchDataset([path], 2, DataConfig(patch=16, max_rotation=20), seed=3, cache=tmp_path / "cache")
    for index in range(60):
        lr, hr = dataset[index]
        assert (lr.shape, hr.shape) == ((3, 16, 16), (3, 32, 32))
        assert min(int(lr.min()), int(hr.min())) > 120  # bicubic overshoots a little below 200


def test_rotation_turns_the_picture(tmp_path: Path) -> None:
    """On a ramp along x, a rotated patch has the slope tan(angle) along y. Angles cover the whole range."""
    ramp = np.broadcast_to(np.linspace(60, 200, 300)[None, :, None], (300, 300, 3)).round().astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    dataset = PatchDataset(
        [tmp_path / "ramp.png"], 2, DataConfig(patch=16, max_rotation=20, flips=False), seed=3, cache=tmp_path / "cache"
    )
    angles: list[float] = []
    for index in range(80):
        hr = as_array(dataset[index][1])[:, :, 0].astype(float)
        angles.append(np.degrees(np.arctan2(np.diff(hr, axis=0).mean(), np.diff(hr, axis=1).mean())))
    assert 15 < max(angles) < 21
    assert -21 < min(angles) < -15


def test_flips_keep_lr_and_hr_together(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", 16, 16)
    dataset = PatchDataset(
        [path], 2, DataConfig(patch=8), seed=0, cache=tmp_path / "cache"
    )  # the whole photo: four versions
    whole, small = Image.open(path), Image.open(path).resize((8, 8), Image.Resampling.BICUBIC)
    versions = set()
    for index in range(40):
        lr, hr = (as_array(patch) for patch in dataset[index])
        for steps in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            if np.array_equal(hr, np.asarray(whole)[:: steps[0], :: steps[1]]):
                np.testing.assert_array_equal(lr, np.asarray(small)[:: steps[0], :: steps[1]])
                versions.add(steps)
    assert len(versions) == 4


def test_samples_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    config = DataConfig(patch=8, max_rotation=10)
    first, second = (PatchDataset(photos, 2, config, seed=5, cache=tmp_path / "cache") for _ in range(2))
    for index in (7, 3, 7, 100):
        for a, b in zip(first[index], second[index], strict=True):
            assert torch.equal(a, b)
    other = PatchDataset(photos, 2, config, seed=6, cache=tmp_path / "cache")
    assert not all(torch.equal(first[i][1], other[i][1]) for i in range(5))


@pytest.mark.parametrize("crops", [0, 3])
def test_another_seed_takes_other_crops(crops: int, tmp_path: Path) -> None:
    """If only the position is random."""
    path = write_photo(tmp_path / "a.png")
    config = DataConfig(patch=8, flips=False, crops=crops)
    one, two = (PatchDataset([path], 2, config, seed=seed, cache=tmp_path / "cache") for seed in (1, 2))
    assert not all(torch.equal(one[i][1], two[i][1]) for i in range(3))


def test_a_fixed_number_of_crops_repeats(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png")
    dataset = PatchDataset([path], 2, DataConfig(patch=8, crops=4, flips=False), seed=0, cache=tmp_path / "cache")
    assert all(torch.equal(dataset[i][1], dataset[i + 4][1]) for i in range(4))
    assert len({dataset[i][1].numpy().tobytes() for i in range(40)}) == 4


def test_shares_decide_how_often_a_folder_is_drawn(tmp_path: Path) -> None:
    write_photo(tmp_path / "portraits_a" / "0.png", low=250)
    write_photo(tmp_path / "photos" / "0.png", seed=1)
    write_photo(tmp_path / "left_out" / "0.png", seed=2)
    config = DataConfig(patch=8, shares={"portraits": 0.75, "photos": 0.25})
    dataset = PatchDataset(list_photos([tmp_path]), 2, config, seed=0, cache=tmp_path / "cache")
    bright = sum(int(dataset[i][1].min()) >= 250 for i in range(400))
    assert 260 < bright < 340
    with pytest.raises(DataError, match="'animals'"):
        PatchDataset(
            list_photos([tmp_path]), 2, DataConfig(patch=8, shares={"animals": 1.0}), seed=0, cache=tmp_path / "cache"
        )


def test_processes_share_each_batch() -> None:
    alone = list(batches(3, 6, 8, 0, 1))
    shared = [list(batches(3, 6, 8, rank, 2)) for rank in range(2)]
    assert alone == [[*a, *b] for a, b in zip(*shared, strict=True)]
    assert alone[0] == list(range(24, 32))


def test_bad_photos_are_named(tmp_path: Path) -> None:
    small = write_photo(tmp_path / "small.png", 10, 200)
    with pytest.raises(DataError, match=r"small\.png has 10x200 pixels, .* needs 32"):
        PatchDataset([small], 2, DataConfig(patch=16), seed=0, cache=tmp_path / "cache")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        PatchDataset([broken], 2, DataConfig(patch=16), seed=0, cache=tmp_path / "cache")


def test_large_photographs_are_shrunk_first(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", 121, 96)
    config = DataConfig(patch=8, flips=False, megapixels=0.003)
    hr = as_array(PatchDataset([path], 2, config, seed=0, cache=tmp_path / "cache")[0][1])
    box = (0, 0, 120, 96)
    half = np.asarray(Image.open(path).resize((60, 48), Image.Resampling.BICUBIC, box=box))
    places = [(y, x) for y in range(0, 33, 2) for x in range(0, 45, 2)]
    assert any(np.array_equal(hr, half[y : y + 16, x : x + 16]) for y, x in places)


def test_only_lr_is_degraded_and_the_same_way_each_time(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png")
    configs = [DataConfig(patch=16, degrade=DegradeConfig(share=share)) for share in (0.0, 0.5)]
    clean, degraded = (PatchDataset([path], 2, config, seed=4, cache=tmp_path / "cache") for config in configs)
    changed = 0
    for index in range(60):
        (lr, hr), (degraded_lr, degraded_hr) = clean[index], degraded[index]
        assert torch.equal(hr, degraded_hr)
        assert torch.equal(degraded_lr, degraded[index][0])
        changed += not torch.equal(lr, degraded_lr)
    assert 18 < changed < 42
