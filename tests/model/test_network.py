import dataclasses

import pytest
import torch
import torch.nn.functional as F

from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.model.network import TinySR, bicubic_skip

SMALL = ModelConfig(channels=16, blocks=3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_the_network_has_the_tensors_its_config_says(preset: str, scale: int) -> None:
    config = dataclasses.replace(PRESETS[preset], scale=scale)
    model = TinySR(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == config.shapes
    assert sum(p.numel() for p in model.parameters()) == config.parameters


@pytest.mark.parametrize("scale", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (5, 9)])
def test_output_size(scale: int, size: tuple[int, int]) -> None:
    model = TinySR(dataclasses.replace(SMALL, scale=scale))
    assert model(torch.rand(2, 3, *size)).shape == (2, 3, scale * size[0], scale * size[1])


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (20, 30)])
def test_bicubic_is_torchs(scale: int, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    expected = F.interpolate(image, scale_factor=scale, mode="bicubic")
    torch.testing.assert_close(bicubic_skip(image, scale), expected)


def test_bicubic_does_not_depend_on_where_a_tile_begins() -> None:
    image = torch.rand(1, 3, 8, 4000)
    torch.testing.assert_close(bicubic_skip(image, 3)[..., 9006:9100], bicubic_skip(image[..., 3000:], 3)[..., 6:100])


def test_training_starts_near_bicubic() -> None:
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        difference = TinySR(PRESETS["tiny"])(image) - bicubic_skip(image, 2)
    assert 0 < difference.std() < 0.25


def test_the_gate_of_the_whole_is_the_networks_own() -> None:
    model = TinySR(SMALL)
    image = torch.rand(2, 3, 12, 14)
    assert model.attention is not None
    with torch.no_grad():
        gate = model.attention(model.pooled(image, slice(None), slice(None)))
        torch.testing.assert_close(model(image, gate), model(image))


def test_without_attention_there_is_no_gate() -> None:
    model = TinySR(dataclasses.replace(SMALL, attention=False))
    assert model.attention is None
    assert not any(name.startswith("attention") for name in model.state_dict())


def test_the_reach_of_a_pixel_is_the_halo() -> None:
    """Pixels outside the halo have no influence; those at its edge may."""
    model = TinySR(SMALL)
    halo, centre = SMALL.halo, 20
    gate = torch.ones(1, SMALL.channels)
    image = torch.rand(1, 3, 41, 41, requires_grad=True)
    pixel = model(image, gate)[0, :, 2 * centre, 2 * centre].sum()
    (gradient,) = torch.autograd.grad(pixel, image)
    reached = gradient[0].abs().sum(0).nonzero() - centre
    assert reached.abs().max() == halo


def test_output_is_not_clamped_so_that_gradients_flow() -> None:
    model = TinySR(SMALL)
    torch.nn.init.constant_(model.tail.bias, 2.0)
    assert model(torch.rand(1, 3, 8, 8)).max() > 1.5


def test_no_channel_starts_dead() -> None:
    """A dead channel has no gradient and never learns."""
    torch.manual_seed(0)
    network = TinySR(ModelConfig())
    features = torch.rand(1, 3, 32, 32) * 0.2 + 0.7
    for conv in [network.head, *network.trunk]:
        features = conv(features).relu()
        assert (features.amax((0, 2, 3)) > 0).all()
