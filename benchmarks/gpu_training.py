"""Train with a recipe on one large GPU; this made `lite` ×2, the last stages of `photo`, and both ×8 networks.

    python benchmarks/gpu_training.py ../shared/data/train lite-x2.safetensors --channels 32
        --base weights/tinysr-fidelity-x2.safetensors --learning-rate 1.2e-2 --minutes 4

`tinysr-finetune` waits for its patches and for the steps of its optimiser, which leaves most of a large GPU idle. Here,
the patches are in the memory of the GPU, the optimiser is Muon (Jordan et al. 2024), and a step is one CUDA graph. The
learning rate falls along a half cosine to 0 at the end of the given time. There is no validation. If a recipe degrades
patches, a file beside the output keeps the decoded photographs.

The base can have half the scale: the phases of the new tail then start between those of the old one. The base can also
have more channels: the most important ones of each layer are kept. With `--blend-with`, the network is trained so that
its blends with another network work too.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_patches import CleanPatches, DegradedPatches, Patches
from torch import Tensor, nn
from torch.func import functional_call

from tinysr_core.images import list_photos
from tinysr_core.images.photos import fingerprint
from tinysr_core.loss import Loss, load_lpips, load_vgg19
from tinysr_core.model import Checkpoint, TinySR, read_checkpoint, write_checkpoint
from tinysr_core.model.blend import NORM_RESTORED
from tinysr_core.trainer import Recipe, load_recipe
from tinysr_core.trainer.loop import learning_rate
from tinysr_core.trainer.patches import PatchDataset

RECIPES = Path(__file__).parents[1] / "training" / "recipes"
SCHEDULE = 10_000
"""Points of the learning rate schedule over the time of the run."""
WARM_STEPS = 3
"""Steps before the CUDA graph is captured."""
TOGETHER = 8
"""Steps between two looks at the clock."""
SEED = 7
MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.99)
ADAM_SHARE = 0.1
"""Learning rate of Adam, for biases and attention, relative to that of Muon."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon:
    """Muon for the convs, Adam for the rest, and the moving average of the weights."""

    def __init__(self, network: TinySR, decay: float) -> None:
        weights = list(network.parameters())
        device = weights[0].device
        self.rate, self.step_count = torch.zeros((), device=device), torch.zeros((), device=device)
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for weight in weights:
            if weight.ndim == 4:
                by_shape.setdefault(weight.shape, []).append(weight)
        self.convs = [
            (group, torch.zeros(len(group), len(group[0]), group[0][0].numel(), device=device))
            for group in by_shape.values()
        ]
        self.rest = [(w, torch.zeros_like(w), torch.zeros_like(w)) for w in weights if w.ndim != 4]
        self.weights, self.average = weights, [weight.detach().clone() for weight in weights]
        self.decay = torch.tensor(decay, device=device)

    @torch.no_grad()
    def step(self) -> None:
        self.step_count += 1
        for group, momentum in self.convs:
            gradient = torch.stack([_gradient(weight).flatten(1) for weight in group])
            momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
            update = orthogonal(gradient.lerp(momentum, MUON_MOMENTUM))
            update *= max(1, gradient.shape[1] / gradient.shape[2]) ** 0.5
            for weight, change in zip(group, update, strict=True):
                weight.sub_(self.rate * change.reshape(weight.shape))
        first, second = ADAM_BETAS
        for weight, mean, square in self.rest:
            mean.lerp_(_gradient(weight), 1 - first)
            square.lerp_(_gradient(weight).square(), 1 - second)
            scale = (square / (1 - second**self.step_count)).sqrt() + 1e-8
            weight.sub_(ADAM_SHARE * self.rate * mean / (1 - first**self.step_count) / scale)
        decay = torch.minimum(self.decay, (1 + self.step_count) / (10 + self.step_count))
        for average, weight in zip(self.average, self.weights, strict=True):
            average.lerp_(weight, 1 - decay)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices [N,rows,columns] with orthogonal rows or columns, roughly, by five Newton-Schulz steps."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.to(torch.bfloat16 if x.is_cuda else torch.float32)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


def _gradient(weight: nn.Parameter) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def enlarged_tail(tail: Tensor) -> Tensor:
    """The weight [3*s*s,...] or bias of a tail for twice the scale: each new phase lies between two old ones, or beside
    the outermost one."""
    scale = math.isqrt(len(tail) // 3)
    phases = tail.reshape(3, scale, scale, -1).movedim(3, 1)
    phases = F.interpolate(phases.flatten(0, 1)[:, None], scale_factor=2, mode="bilinear")
    phases = phases.reshape(3, -1, 2 * scale, 2 * scale).movedim(1, 3)
    return phases.reshape(12 * scale**2, *tail.shape[1:])


@torch.no_grad()
def pruned(network: TinySR, channels: int, lr: Tensor) -> TinySR:
    """The network with the most important channels of each layer. The importance of a channel is its energy on the
    patches `lr`, times the energy of the weights that read it. The head and the last trunk layer keep the same ones,
    because their outputs are added."""
    convs: list[Any] = [network.head, *network.trunk, network.tail]
    features = [F.relu(network.head(lr))]
    for conv in network.trunk:
        features.append(F.relu(conv(features[-1])))
    assert network.attention is not None
    gate = network.attention(features[-1].mean((2, 3))).mean(0)
    energy = [x.square().mean((0, 2, 3)) for x in features]
    reads = [conv.weight.square().sum((0, 2, 3)) for conv in convs[1:]]
    scores = [e * read for e, read in zip(energy, reads, strict=True)]
    scores[0] = scores[-1] = scores[0] + 10 * (energy[0] + energy[-1] * gate**2) * reads[-1]
    kept = [score.topk(channels).indices.sort().values for score in scores]
    small = TinySR(dataclasses.replace(network.config, channels=channels))
    small.to(lr.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
    inputs = [torch.arange(3, device=lr.device), *kept]
    outputs = [*kept, torch.arange(len(network.tail.weight), device=lr.device)]
    targets: list[Any] = [small.head, *small.trunk, small.tail]
    for old, new, before, after in zip(convs, targets, inputs, outputs, strict=True):
        new.weight.copy_(old.weight[after][:, before])
        new.bias.copy_(old.bias[after])
    assert small.attention is not None
    squeeze, excite = network.attention.squeeze.weight, network.attention.excite.weight
    hidden = excite.square().sum(0).topk(channels // network.config.reduction).indices
    small.attention.squeeze.weight.copy_(squeeze[hidden][:, kept[-1]])
    small.attention.excite.weight.copy_(excite[kept[-1]][:, hidden])
    return small


def mixed(portrait: Tensor, weight: Tensor, share: Tensor) -> Tensor:
    """The blend of two tensors that `tinysr_core.model.blend.mixed` makes, here with a gradient."""
    mix = portrait.lerp(weight, share)
    if mix.ndim < 4:
        return mix
    norms = [kernels.flatten(1).norm(dim=1) for kernels in (portrait, weight, mix)]
    factor = norms[0].lerp(norms[1], share) / norms[2]
    return mix * (factor**NORM_RESTORED)[:, None, None, None]


def blended(network: TinySR, portrait: dict[str, Tensor], lr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Results of a random blend of `network` with the weights `portrait`, and the pictures that they should be: the
    same blend of the originals with the results of `portrait`. All are patches [B,3,p,p] or [B,3,s*p,s*p]."""
    share = torch.rand((), device=lr.device)
    weights = {name: mixed(portrait[name], weight, share) for name, weight in network.named_parameters()}
    with torch.no_grad():
        wanted = functional_call(network, portrait, (lr,)).lerp(hr, share)
    return functional_call(network, weights, (lr,)), wanted


def train(
    network: TinySR, patches: Patches, loss: Loss, recipe: Recipe, minutes: float, portrait: dict[str, Tensor] | None
) -> tuple[int, list[Tensor]]:
    """The number of steps and the averaged weights after `minutes`.

    With the weights of `portrait`, half of each batch trains blends with them. Otherwise, blends of networks that were
    trained far apart are worse than both (benchmarks/results/training.md).
    """
    optimizer = Muon(network, recipe.optimizer.ema)
    device = next(network.parameters()).device

    def step() -> None:
        lr, hr = patches.draw()
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            if portrait is None:
                sr = network(lr)
            else:
                half = len(lr) // 2
                sr, wanted = blended(network, portrait, lr[half:], hr[half:])
                sr, hr = torch.cat([network(lr[:half]), sr]), torch.cat([hr[:half], wanted])
            total, _ = loss(sr, hr)
        network.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    run = _captured(step) if device.type == "cuda" else step
    optimizer.step_count.zero_()
    steps = 0
    for rate in _rates(recipe, minutes):
        optimizer.rate.fill_(rate)
        patches.refresh()
        for _ in range(TOGETHER):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        steps += TOGETHER
    return steps, optimizer.average


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """`step` as a CUDA graph, after a few steps of rate 0."""
    torch.backends.cudnn.benchmark = True
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _rates(recipe: Recipe, minutes: float) -> Iterator[float]:
    """Learning rates until the time is over."""
    schedule = dataclasses.replace(recipe.optimizer, warmup=SCHEDULE // 100, final_learning_rate=0.0)
    start = time.monotonic()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        yield learning_rate(schedule, 1 + int(done * SCHEDULE), SCHEDULE)


def _network(checkpoint: Checkpoint, scale: int, device: torch.device) -> TinySR:
    tensors = {name: torch.from_numpy(values) for name, values in checkpoint.tensors.items()}
    if scale != checkpoint.config.scale:
        tensors |= {name: enlarged_tail(tensors[name]) for name in ("tail.weight", "tail.bias")}
    network = TinySR(dataclasses.replace(checkpoint.config, scale=scale))
    network.load_state_dict(tensors)
    return network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="folders of photographs")
    parser.add_argument("output", type=Path, help="the checkpoint to write")
    parser.add_argument("--base", type=Path, required=True, help="the checkpoint to start from")
    parser.add_argument("--backbones", type=Path, help="folder of vgg19_features and lpips_squeeze.safetensors")
    parser.add_argument("--recipe", default="fidelity", help="the name of a recipe in training/recipes")
    parser.add_argument("--scale", type=int, help="that of the base, or twice as much")
    parser.add_argument("--channels", type=int, help="at most those of the base")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--l1", type=float, help="weight of the term l1")
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the weight average")
    parser.add_argument("--blend-with", type=Path, help="the portrait network that `clean` blends the result with")
    parser.add_argument("--workers", type=int, default=4, help="processes that degrade patches")
    arguments = parser.parse_args()
    base = read_checkpoint(arguments.base)
    recipe = load_recipe(RECIPES / f"{arguments.recipe}.toml")
    photos = list_photos(arguments.photos)
    data = dataclasses.replace(recipe.data, patch=arguments.patch, batch=arguments.batch)
    scale = arguments.scale or base.config.scale
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if data.degrade.share:
        dataset = PatchDataset(photos, scale, data, SEED, arguments.output.with_suffix(".photos"))
        patches = DegradedPatches(dataset, arguments.workers, device)
    else:
        patches = CleanPatches(photos, scale, data, device)

    torch.manual_seed(SEED)
    network = _network(base, scale, device)
    if arguments.channels not in (None, base.config.channels):
        network = pruned(network, arguments.channels, patches.draw()[0])
    portrait = None
    if arguments.blend_with:
        portrait = {
            name: w.detach()
            for name, w in _network(read_checkpoint(arguments.blend_with), scale, device).named_parameters()
        }

    optimizer = dataclasses.replace(
        recipe.optimizer, method="muon", learning_rate=arguments.learning_rate, ema=arguments.ema
    )
    terms = recipe.loss if arguments.l1 is None else dataclasses.replace(recipe.loss, l1=arguments.l1)
    recipe = dataclasses.replace(
        recipe, model=network.config, data=data, optimizer=optimizer, loss=terms, base=base.path.stem, seed=SEED
    )
    vgg = load_vgg19(arguments.backbones) if terms.vgg else None
    lpips = load_lpips("squeeze", arguments.backbones) if terms.lpips else None
    loss = Loss(terms, vgg, lpips, scale).to(device)
    steps, average = train(network, patches, loss, recipe, arguments.minutes, portrait)

    recipe = dataclasses.replace(recipe, steps=steps)
    names = [name for name, _ in network.named_parameters()]
    card = {
        "recipe": dataclasses.asdict(recipe),
        "step": steps,
        "data_sha256": fingerprint(photos),
        "base_sha256": base.sha256,
    }
    arrays = {name: weight.cpu().numpy() for name, weight in zip(names, average, strict=True)}
    write_checkpoint(arguments.output, network.config, arrays, card)


if __name__ == "__main__":
    main()
