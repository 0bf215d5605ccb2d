from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tinysr_core.images.photos import decode, list_photos, map_photos
from tinysr_core.trainer import photo_duplicates as duplicates
from tinysr_core.trainer.photo_duplicates import NEAR, distances, group, near_pairs, perceptual_hash


def scene(seed: int) -> Image.Image:
    """Coarse and fine colour patches, unlike those of any other seed."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((240, 200, 3))
    for cells in (3, 6, 12, 40):
        layer = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(layer.resize((200, 240), Image.Resampling.BICUBIC), float) / 4
    return Image.fromarray(picture.astype(np.uint8))


def hash_of(image: Image.Image) -> np.ndarray:
    return perceptual_hash(np.asarray(image))


def test_versions_of_a_picture_are_near_and_others_are_far(tmp_path: Path) -> None:
    original = scene(0)
    original.save(tmp_path / "poor.jpg", quality=30)
    versions = [
        original.resize((100, 120), Image.Resampling.BICUBIC),
        Image.open(tmp_path / "poor.jpg"),
        ImageEnhance.Brightness(original).enhance(0.8),
        original.convert("L").convert("RGB"),
        original.crop((2, 2, 198, 238)),
    ]
    near = distances(hash_of(original)[None], np.stack([hash_of(version) for version in versions]))
    far = distances(hash_of(original)[None], np.stack([hash_of(scene(seed)) for seed in range(1, 30)]))
    assert near.max() <= NEAR
    assert far.min() > NEAR + 20
    assert near.min() >= 0


@pytest.mark.parametrize("block", [2, 1024])
def test_pairs_and_groups(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    apart = np.random.default_rng(0).integers(0, 2, (4, 255)).astype(bool)
    chain = apart[0].copy()
    chain[:30] ^= True  # near the first
    further = chain.copy()
    further[30:60] ^= True  # near `chain`, not near the first
    hashes = np.stack([apart[0], apart[1], further, apart[2], chain])
    assert sorted(near_pairs(hashes)) == [(0, 4), (2, 4)]
    assert group(hashes) == [0, 1, 0, 3, 0]


@pytest.mark.slow
def test_no_validation_photograph_is_trained_on(shared: Path) -> None:
    """Nor a near-duplicate of one."""
    validation = list_photos([shared / "data" / "val" / name for name in ("portraits_cc0", "portraits_london")])
    for name in ("set5", "set14"):
        validation += (shared / "data" / "val" / name / "x2").glob("*_HR.png")
    training = list_photos([shared / "data" / "train"])
    assert (len(validation), len(training)) == (44, 602)
    hashes = [
        np.stack(list(map_photos(lambda p: perceptual_hash(decode(p)), photos))) for photos in (validation, training)
    ]
    apart = distances(*hashes)
    assert apart.min() > NEAR, (validation[apart.min(1).argmin()], training[apart.min(0).argmin()])
