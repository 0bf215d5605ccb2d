import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.filters import filter2d
from skimage.color import rgb2lab
from torch import nn

from tinysr_core.errors import DataError
from tinysr_core.loss.lpips import Lpips
from tinysr_core.loss.terms import (
    LAPLACIAN,
    SOBEL_X,
    SOBEL_Y,
    TERMS,
    Loss,
    LossConfig,
    colour_distance,
    edge_distance,
    edge_maps,
    phase_distance,
    rgb_to_lab,
)
from tinysr_core.loss.vgg import LAYERS, VggFeatures


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_vgg() -> dict[str, torch.Tensor]:
    """VGG19's shapes up to conv3_2, with random weights."""
    channels = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256)}
    tensors: dict[str, torch.Tensor] = {}
    for index, (inputs, outputs) in channels.items():
        tensors[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{index}.bias"] = torch.zeros(outputs)
    return tensors


def random_lpips() -> Lpips:
    """LPIPS with AlexNet's shapes and random weights."""
    tensors: dict[str, torch.Tensor] = {}
    sizes = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}
    for head, (index, (inputs, outputs, side)) in enumerate(sizes.items()):
        tensors[f"features.{index}.weight"] = torch.randn(outputs, inputs, side, side) * (2 / inputs) ** 0.5 / side
        tensors[f"features.{index}.bias"] = torch.zeros(outputs)
        tensors[f"lin{head}.weight"] = torch.rand(1, outputs, 1, 1)
    return Lpips("alex", tensors)


ALL = LossConfig(vgg=1, edge=0.2, lab=0.1, l1=1, fft=0.05, phase=2, colour=1, lpips=0.5)


def test_the_papers_weights_are_the_default() -> None:
    assert LossConfig().weights == {"vgg": 1.0, "edge": 0.2, "lab": 0.1}


def test_the_total_is_the_weighted_sum_of_the_named_terms() -> None:
    total, terms = Loss(ALL, random_vgg(), random_lpips())(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert tuple(terms) == TERMS
    assert total.item() == pytest.approx(sum(ALL.weights[name] * term.item() for name, term in terms.items()))


@pytest.mark.parametrize("name", TERMS)
def test_every_term_pulls_towards_the_photograph(name: str) -> None:
    """Zero at equality; a step against the gradient makes it smaller, also from outside [0,1]."""
    config = LossConfig(**{term: float(term == name) for term in TERMS})
    loss = Loss(config, random_vgg(), random_lpips())
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


def test_edge_maps_agree_with_kornia() -> None:
    image = torch.rand(2, 3, 20, 24)
    ours = edge_maps(image)
    for index, kernel in enumerate((SOBEL_X, SOBEL_Y, LAPLACIAN)):
        theirs = filter2d(image, torch.tensor(kernel)[None], border_type="constant")
        torch.testing.assert_close(ours[:, :, index], theirs, atol=1e-4, rtol=0)


def test_edge_distance_is_the_sum_of_the_three_l1_means() -> None:
    a, b = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    expected = sum((edge_maps(a)[:, :, i] - edge_maps(b)[:, :, i]).abs().mean() for i in range(3))
    torch.testing.assert_close(edge_distance(a, b), expected)


def test_a_weave_in_step_with_the_pixel_shuffle_is_a_distance_of_phases() -> None:
    hr = torch.rand(2, 3, 12, 12)
    weave = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(6, 6)
    assert phase_distance(hr + weave, hr, 2).item() == pytest.approx(0.1, abs=1e-6)
    assert phase_distance(hr + weave, hr, 3).item() == pytest.approx(0, abs=1e-6)


def test_a_change_of_colour_is_a_distance_and_texture_is_none() -> None:
    hr = torch.rand(2, 3, 16, 16)
    texture = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(8, 8)
    assert colour_distance(hr + texture, hr, 8).item() == pytest.approx(0, abs=1e-6)
    assert colour_distance(hr + 0.1, hr, 8).item() == pytest.approx(0.1, abs=1e-6)


def test_phases_are_those_of_the_networks_scale() -> None:
    """Two pictures of the same mean, one of which is a weave."""
    flat = torch.full((1, 3, 12, 12), 0.5)
    weave = flat.clone()
    weave[..., ::2, :] += 0.2
    weave[..., 1::2, :] -= 0.2
    config = LossConfig(vgg=0, edge=0, lab=0, phase=1)
    assert float(Loss(config, scale=2)(weave, flat)[0]) == pytest.approx(0.2)
    assert float(Loss(config, scale=1)(weave, flat)[0]) == pytest.approx(0, abs=1e-6)


def test_vgg_sees_pictures_as_it_was_trained_on_them() -> None:
    """Less the mean of ImageNet, and divided by its spread (torchvision's figures)."""
    torch.manual_seed(0)
    tensors = {"features.0.weight": torch.randn(64, 3, 3, 3), "features.0.bias": torch.randn(64)}
    image = torch.rand(1, 3, 9, 9)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = F.conv2d((image - mean) / std, tensors["features.0.weight"], tensors["features.0.bias"], padding=1)
    (features,) = VggFeatures(("conv1_1",), tensors)(image)
    torch.testing.assert_close(features, expected)


def test_lpips_agrees_with_an_independent_one() -> None:
    """Its definition (Zhang et al. 2018) with AlexNet as torchvision builds it, and random weights."""
    torch.manual_seed(0)
    convs = {
        0: nn.Conv2d(3, 64, 11, stride=4, padding=2),
        3: nn.Conv2d(64, 192, 5, padding=2),
        6: nn.Conv2d(192, 384, 3, padding=1),
        8: nn.Conv2d(384, 256, 3, padding=1),
        10: nn.Conv2d(256, 256, 3, padding=1),
    }
    heads = [torch.rand(1, conv.out_channels, 1, 1) for conv in convs.values()]
    tensors = {f"features.{i}.{name}": t.detach() for i, conv in convs.items() for name, t in conv.named_parameters()}
    tensors |= {f"lin{i}.weight": head for i, head in enumerate(heads)}
    scaling = [torch.tensor(values)[:, None, None] for values in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))]
    pictures = torch.rand(2, 3, 64, 64)
    expected = torch.zeros(())
    x = (2 * pictures - 1 - scaling[0]) / scaling[1]
    with torch.no_grad():
        for (index, conv), head in zip(convs.items(), heads, strict=True):
            x = conv(F.max_pool2d(x, 3, 2) if index in (3, 6) else x).relu()
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            expected = expected + ((unit[:1] - unit[1:]).square() * head).sum(1).mean()
    result = Lpips("alex", tensors)(pictures[:1], pictures[1:])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=0)


def test_vgg_taps_are_the_layers_they_name() -> None:
    tensors, image = random_vgg(), torch.rand(1, 3, 16, 16)
    conv, relu = VggFeatures(("conv1_2", "relu1_2"), tensors)(image)
    torch.testing.assert_close(torch.relu(conv), relu)
    assert conv.min() < 0
    (deep,) = VggFeatures(("relu3_1",), tensors)(image)
    assert deep.shape == (1, 256, 4, 4)
    assert LAYERS.index("conv2_1") == 5


@pytest.mark.parametrize("taps", [("relu9_9",), ()])
def test_unknown_taps_are_refused(taps: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="Unknown VGG layer"):
        VggFeatures(taps, random_vgg())


@pytest.mark.parametrize("name", ["vgg", "lpips"])
def test_a_term_without_its_network_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs the weights"):
        Loss(LossConfig(**{term: float(term == name) for term in TERMS}))
