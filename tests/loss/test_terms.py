from functools import partial
from pathlib import Path

import kornia
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import laplace, sobel
from skimage.color import rgb2lab
from torch import nn

from tinysr_core.errors import DataError
from tinysr_core.loss.lpips import Backbone, load_lpips
from tinysr_core.loss.terms import (
    TERMS,
    Loss,
    LossConfig,
    colour_distance,
    edge_distance,
    edge_maps,
    phase_distance,
    rgb_to_lab,
)
from tinysr_core.loss.vgg import LAYERS, VggFeatures, load_vgg19


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


ALL = LossConfig(vgg=1, edge=0.2, lab=0.1, l1=1, fft=0.05, phase=2, colour=1, lpips=0.5)


def test_the_papers_weights_are_the_default() -> None:
    assert LossConfig().weights == {"vgg": 1.0, "edge": 0.2, "lab": 0.1}


def test_the_total_is_the_weighted_sum_of_the_named_terms(backbones: Path) -> None:
    loss = Loss(ALL, load_vgg19(backbones), load_lpips("squeeze", backbones))
    total, terms = loss(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert tuple(terms) == TERMS
    assert total.item() == pytest.approx(sum(ALL.weights[name] * term.item() for name, term in terms.items()))


@pytest.mark.parametrize("name", TERMS)
def test_every_term_pulls_towards_the_photograph(name: str, backbones: Path) -> None:
    """It is zero for equal pictures, and a step against the gradient decreases it, also outside [0,1]."""
    config = LossConfig(**{term: float(term == name) for term in TERMS})
    loss = Loss(config, load_vgg19(backbones), load_lpips("squeeze", backbones))
    hr = torch.rand(1, 3, 64, 64)
    assert loss(hr, hr)[0].item() == 0
    sr = (hr + 0.3 * torch.randn_like(hr)).requires_grad_()
    total, _ = loss(sr, hr)
    (gradient,) = torch.autograd.grad(total, sr)
    assert torch.isfinite(gradient).all()
    step = 1e-3 * total.item() / gradient.square().sum()
    assert loss(sr - step * gradient, hr)[0] < total


def test_lab_agrees_with_scikit_image() -> None:
    rgb = np.random.default_rng(0).random((64, 64, 3))
    rgb[:2] *= 0.02  # the linear pieces near black
    ours = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, rgb2lab(rgb), atol=1e-4)


def test_lab_agrees_with_kornia() -> None:
    rgb = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(rgb_to_lab(rgb), kornia.color.rgb_to_lab(rgb), atol=2e-2, rtol=0)


def test_lab_has_gradients_at_black_and_below() -> None:
    rgb = torch.tensor([0.0, -0.1, 1.2]).view(1, 3, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(rgb_to_lab(rgb).sum(), rgb)
    assert torch.isfinite(gradient).all()


def test_edge_maps_agree_with_scipy() -> None:
    image = torch.rand(2, 3, 16, 20)
    operators = (
        partial(sobel, axis=1, mode="constant"),
        partial(sobel, axis=0, mode="constant"),
        lambda plane: -laplace(plane, mode="constant"),
    )
    for plane, maps in zip(image.flatten(0, 1).numpy(), edge_maps(image).flatten(0, 1), strict=True):
        expected = [operator(plane) for operator in operators]
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_edge_distance_is_the_sum_of_the_three_l1_means() -> None:
    a, b = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    expected = sum((edge_maps(a)[:, :, i] - edge_maps(b)[:, :, i]).abs().mean() for i in range(3))
    torch.testing.assert_close(edge_distance(a, b), expected)


def test_a_checkerboard_in_step_with_the_pixel_shuffle_is_a_distance_of_phases() -> None:
    hr = torch.rand(2, 3, 12, 12)
    checkerboard = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(6, 6)
    assert phase_distance(hr + checkerboard, hr, 2).item() == pytest.approx(0.1, abs=1e-6)
    assert phase_distance(hr + checkerboard, hr, 3).item() == pytest.approx(0, abs=1e-6)


def test_a_change_of_colour_is_a_distance_and_texture_is_none() -> None:
    hr = torch.rand(2, 3, 16, 16)
    texture = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(8, 8)
    assert colour_distance(hr + texture, hr, 8).item() == pytest.approx(0, abs=1e-6)
    assert colour_distance(hr + 0.1, hr, 8).item() == pytest.approx(0.1, abs=1e-6)


def test_phases_are_those_of_the_networks_scale() -> None:
    """Two pictures of the same mean, one of which has stripes."""
    flat = torch.full((1, 3, 12, 12), 0.5)
    stripes = flat.clone()
    stripes[..., ::2, :] += 0.2
    stripes[..., 1::2, :] -= 0.2
    config = LossConfig(vgg=0, edge=0, lab=0, phase=1)
    assert float(Loss(config, scale=2)(stripes, flat)[0]) == pytest.approx(0.2)
    assert float(Loss(config, scale=1)(stripes, flat)[0]) == pytest.approx(0, abs=1e-6)


def test_squares_of_colour_have_a_side_of_four_lr_pixels() -> None:
    stripes = torch.tensor([0.2] * 4 + [-0.2] * 4).repeat(1, 3, 16, 2)
    config = LossConfig(vgg=0, edge=0, lab=0, colour=1)
    distances = [float(Loss(config, scale=scale)(stripes, torch.zeros_like(stripes))[0]) for scale in (1, 2)]
    assert distances == pytest.approx([0.2, 0], abs=1e-6)


def test_vgg_features_agree_with_an_independent_network(references: dict[str, nn.Sequential], backbones: Path) -> None:
    """torchvision's layers, and its normalisation by the mean and deviation of ImageNet."""
    image = torch.rand(1, 3, 21, 18)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, expected = (image - mean) / std, {}
    for name, layer in zip(LAYERS, references["vgg19"], strict=True):
        x = expected[name] = layer(x)
    taps = tuple(name for name in LAYERS if not name.startswith("pool"))
    for name, features in zip(taps, VggFeatures(taps, load_vgg19(backbones))(image), strict=True):
        torch.testing.assert_close(features, expected[name], msg=name)


def test_the_vgg_term_is_the_sum_of_l1_means_at_its_taps(backbones: Path) -> None:
    sr, hr = torch.rand(2, 1, 3, 24, 24)
    vgg = VggFeatures(("relu1_1", "relu2_1"), load_vgg19(backbones))
    expected = sum((a - b).abs().mean() for a, b in zip(vgg(sr), vgg(hr), strict=True))
    torch.testing.assert_close(vgg.distance(sr, hr), expected)


# The layers after which LPIPS compares features: its authors' slices of torchvision's networks.
LPIPS_TAPS = {"alex": (1, 4, 7, 9, 11), "squeeze": (1, 4, 7, 9, 10, 11, 12)}


@pytest.mark.parametrize("backbone", ["alex", "squeeze"])
@pytest.mark.parametrize("size", [(32, 32), (64, 51)])
def test_lpips_agrees_with_an_independent_one(
    backbone: Backbone, size: tuple[int, int], references: dict[str, nn.Sequential], backbones: Path
) -> None:
    """Its definition (Zhang et al. 2018) on torchvision's layers, with random weights."""
    heads = load_file(backbones / f"lpips_{backbone}.safetensors")
    shift, scale = (torch.tensor(values)[:, None, None] for values in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    pictures = torch.rand(2, 3, *size)
    x = (2 * pictures - 1 - shift) / scale
    expected, head = torch.zeros(()), 0
    for index, layer in enumerate(references[backbone]):
        x = layer(x)
        if index in LPIPS_TAPS[backbone]:
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            expected = expected + ((unit[:1] - unit[1:]).square() * heads[f"lin{head}.weight"]).sum(1).mean()
            head += 1
    result = load_lpips(backbone, backbones)(pictures[:1], pictures[1:])
    assert head == len(LPIPS_TAPS[backbone]) and expected > 0
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("taps", [("relu9_9",), ()])
def test_unknown_taps_are_refused(taps: tuple[str, ...], backbones: Path) -> None:
    with pytest.raises(DataError, match="Unknown VGG layer"):
        VggFeatures(taps, load_vgg19(backbones))


@pytest.mark.parametrize("name", ["vgg", "lpips"])
def test_a_term_without_its_network_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs the weights"):
        Loss(LossConfig(**{term: float(term == name) for term in TERMS}))
