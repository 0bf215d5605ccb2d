import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysr_core.engines import load_upscaler
from tinysr_core.errors import CheckpointError, RequestError
from tinysr_core.model import catalog
from tinysr_core.model.blend import (
    blend,
    find_cleanable,
    find_relative,
    has_photo,
    load_checkpoint,
    mixed,
    relatives_of_descendant,
)
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tinysr_core.model.config import ModelConfig

CONFIG = ModelConfig(channels=16, blocks=2)


def write(path: Path, seed: int, config: ModelConfig = CONFIG, **card: Any) -> Checkpoint:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    tensors = {name: random.standard_normal(shape, np.float32) / 20 for name, shape in config.shapes.items()}
    write_checkpoint(path, config, tensors, card)
    return read_checkpoint(path)


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    """A faithful checkpoint, and one that names it as its twin."""
    return write(tmp_path / "calm-x2.safetensors", 0), write(tmp_path / "vivid-x2.safetensors", 1, twin="calm-x2")


def test_the_ends_of_the_slider_are_the_twins(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, vivid = twins
    for detail, expected in ((0.0, calm), (1.0, vivid)):
        loaded = load_checkpoint(vivid.path, detail)
        for name, tensor in loaded.tensors.items():
            np.testing.assert_array_equal(tensor, expected.tensors[name])


def test_between_them_weights_are_mixed(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, vivid = twins
    loaded = load_checkpoint(vivid.path, 0.25)
    assert (loaded.config, loaded.card["twin"]) == (CONFIG, "calm-x2")
    for name, tensor in loaded.tensors.items():
        assert tensor.dtype == np.float32
        expected = mixed([(calm.tensors[name], 0.75), (vivid.tensors[name], 0.25)])
        np.testing.assert_allclose(tensor, expected, atol=1e-7)
    digests = {load_checkpoint(vivid.path, detail).sha256 for detail in (0, 0.25, 0.5, 1)}
    assert len(digests) == 4


def test_a_bias_is_the_weighted_mean() -> None:
    ones, fives = np.ones(3, np.float32), np.full(3, 5, np.float32)
    np.testing.assert_allclose(mixed([(ones, 0.75), (fives, 0.25)]), [2, 2, 2])


def test_a_kernel_gets_a_part_of_its_norm_back() -> None:
    random = np.random.default_rng(4)
    first, second = random.standard_normal((2, 5, 4, 3, 3), np.float32)
    first[3] = second[3] = 0
    first[4] = second[4]
    mean = 0.75 * first + 0.25 * second
    lost = np.ones(5)
    for output in range(3):
        norms = [np.linalg.norm(kernels[output]) for kernels in (first, second, mean)]
        lost[output] = (0.75 * norms[0] + 0.25 * norms[1]) / norms[2]
        assert lost[output] > 1.05
    kernels = mixed([(first, 0.75), (second, 0.25)])
    assert kernels.dtype == np.float32
    np.testing.assert_allclose(kernels, mean * lost[:, None, None, None] ** (1 / 3), rtol=1e-5)


def test_the_blend_is_what_runs(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, vivid = twins
    image = np.random.default_rng(2).random((1, 3, 8, 9), np.float32)
    faithful = load_upscaler(calm.path).upscale(image)
    np.testing.assert_array_equal(load_upscaler(vivid.path, detail=0).upscale(image), faithful)
    half = load_upscaler(vivid.path, detail=0.5).upscale(image)
    assert np.abs(half - faithful).max() > 0.001
    assert np.abs(half - load_upscaler(vivid.path).upscale(image)).max() > 0.001


def test_a_twin_may_be_anywhere_in_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr(catalog, "user_folder", lambda: tmp_path / "user")
    vivid = write(tmp_path / "runs" / "vivid-x2.safetensors", 1, twin="calm-x2")
    with pytest.raises(CheckpointError, match=r"calm-x2\.safetensors, the faithful twin of vivid-x2, is missing"):
        find_relative(vivid, "twin")
    shipped = write(tmp_path / "shipped" / "calm-x2.safetensors", 0)
    assert find_relative(vivid, "twin") == shipped.path
    beside = write(tmp_path / "runs" / "calm-x2.safetensors", 2)
    assert find_relative(vivid, "twin") == beside.path


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", 3, None])
def test_a_card_cannot_point_elsewhere(tmp_path: Path, name: Any) -> None:
    write(tmp_path / "secret.safetensors", 0)
    checkpoint = write(tmp_path / "models" / "odd-x2.safetensors", 1, twin=name)
    with pytest.raises(CheckpointError, match=r"no faithful twin|is missing"):
        load_checkpoint(checkpoint.path, 0.5)


@pytest.mark.parametrize("detail", [-0.1, 1.1, float("nan")])
def test_nonsense_is_refused(twins: tuple[Checkpoint, Checkpoint], detail: float) -> None:
    with pytest.raises(RequestError, match="between 0 and 1"):
        load_checkpoint(twins[1].path, detail)


def test_a_checkpoint_without_a_twin(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, _ = twins
    assert load_checkpoint(calm.path).sha256 == calm.sha256
    with pytest.raises(CheckpointError, match="calm-x2 has no faithful twin"):
        load_checkpoint(calm.path, 0.5)


def test_networks_of_different_kinds_cannot_be_blended(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, vivid = twins
    other = dataclasses.replace(calm, config=dataclasses.replace(CONFIG, scale=3))
    with pytest.raises(CheckpointError, match="different size or scale"):
        blend([(other, 0.5), (vivid, 0.5)])


def test_descendants_name_the_faithful_end(twins: tuple[Checkpoint, Checkpoint]) -> None:
    calm, vivid = twins
    assert relatives_of_descendant(calm) == relatives_of_descendant(vivid) == {"twin": "calm-x2"}


@pytest.fixture
def family(tmp_path: Path) -> tuple[Checkpoint, Checkpoint, Checkpoint]:
    """A faithful checkpoint, a perceptual one, and one for photographs."""
    return (
        write(tmp_path / "calm-x2.safetensors", 0),
        write(tmp_path / "vivid-x2.safetensors", 1, twin="calm-x2", photo="dusty-x2"),
        write(tmp_path / "dusty-x2.safetensors", 2, twin="calm-x2"),
    )


@pytest.mark.parametrize("detail", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("clean", [0.0, 0.3, 1.0])
def test_detail_and_clean_span_a_triangle(
    family: tuple[Checkpoint, Checkpoint, Checkpoint], detail: float, clean: float
) -> None:
    vivid = family[1]
    loaded = load_checkpoint(vivid.path, detail, clean)
    assert (loaded.path, loaded.card) == (vivid.path, vivid.card)
    for name, tensor in loaded.tensors.items():
        shares = [(1 - clean) * (1 - detail), (1 - clean) * detail, clean]
        parts = [member.tensors[name] for member in family]
        np.testing.assert_allclose(tensor, mixed(list(zip(parts, shares, strict=True))), rtol=1e-5, atol=1e-7)


def test_without_a_photo_network_clean_must_be_0(family: tuple[Checkpoint, Checkpoint, Checkpoint]) -> None:
    calm, vivid, dusty = family
    assert [has_photo(info) for info in family] == [False, True, False]
    with pytest.raises(CheckpointError, match="calm-x2 has no photo network"):
        load_checkpoint(calm.path, clean=0.5)
    dusty.path.unlink()
    assert not has_photo(vivid)
    with pytest.raises(CheckpointError, match="is missing"):
        load_checkpoint(vivid.path, clean=0.5)


def test_without_a_photo_network_the_next_smaller_scale_is_cleaned(
    family: tuple[Checkpoint, Checkpoint, Checkpoint],
) -> None:
    calm, vivid, dusty = family
    large = write(vivid.path.with_name("vivid-x4.safetensors"), 1, dataclasses.replace(CONFIG, scale=4), twin="calm-x4")
    assert find_cleanable(vivid.path) == vivid.path
    assert find_cleanable(large.path) == vivid.path
    assert find_cleanable(calm.path) is None
    dusty.path.unlink()
    assert find_cleanable(large.path) is None


def test_a_photo_network_of_another_kind_is_none(tmp_path: Path) -> None:
    vivid = write(tmp_path / "vivid-x2.safetensors", 1, photo="dusty-x2")
    write(tmp_path / "dusty-x2.safetensors", 2, dataclasses.replace(CONFIG, channels=20))
    assert not has_photo(vivid)


def test_descendants_keep_the_photo_network(family: tuple[Checkpoint, Checkpoint, Checkpoint]) -> None:
    assert relatives_of_descendant(family[1]) == {"twin": "calm-x2", "photo": "dusty-x2"}


def test_auto_takes_what_each_picture_needs(family: tuple[Checkpoint, Checkpoint, Checkpoint]) -> None:
    _, vivid, dusty = family
    noise = np.random.default_rng(0).normal(0.5, 0.1, (1, 3, 40, 40)).clip(0, 1).astype(np.float32)
    smooth = np.broadcast_to(np.linspace(0, 1, 40, dtype=np.float32), (1, 3, 40, 40)).copy()
    auto = load_upscaler(vivid.path)
    for picture, expected, amount in ((smooth, vivid, 0), (noise, dusty, 1)):
        _, clean = auto.for_picture(picture)
        assert clean is not None
        assert clean.amount == amount
        assert auto.scale == 2
        same = load_upscaler(expected.path, clean=0).upscale(picture)
        np.testing.assert_allclose(auto.upscale(picture), same, atol=1e-6)
    upscaler, clean = auto.for_picture(smooth, jpeg_quality=40)
    assert str(clean) == "clean 1: JPEG quality 40"
    np.testing.assert_allclose(upscaler.upscale(smooth), load_upscaler(dusty.path).upscale(smooth), atol=1e-6)
    with pytest.raises(RequestError, match="array"):
        auto.upscale(np.zeros((3, 4, 4), np.float32))
