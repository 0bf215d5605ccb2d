"""The training loop on an imitated GPU: no tensor may be on the wrong device."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tinysr_core.loss.terms import LossConfig
from tinysr_core.loss.terms import _constant as loss_constant
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import _skip_kernel as skip_kernel
from tinysr_core.trainer import loop
from tinysr_core.trainer.monitor import Monitor
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.recipe import OptimizerConfig, Recipe
from tinysr_core.trainer.run_folder import RunFolder
from tinysr_core.trainer.run_state import RunState

GPU = torch.device("lazy", 0)
"""Stands for a CUDA device: builds of torch for the CPU support its tensors."""
RECIPE = Recipe(
    model=ModelConfig(channels=16, blocks=1),
    data=DataConfig(patch=8, batch=2),
    loss=LossConfig(vgg=0, edge=0.2, lab=0.01, l1=1, fft=0.1, phase=0.1),
    optimizer=OptimizerConfig(warmup=0, ema=0.9),
    steps=3,
)


class FakeFabric:
    """The part of Lightning Fabric that the loop uses, on `GPU`."""

    device, world_size, global_rank, local_rank, is_global_zero = GPU, 1, 0, 0, True

    def __init__(self, **_: Any) -> None: ...

    def launch(self) -> None: ...

    def setup(self, network: nn.Module, optimizer: Any) -> Any:
        network.to(GPU)
        return network, torch.optim.Adam(network.parameters())

    def setup_dataloaders(self, loader: Any, **_: Any) -> list[tuple[Tensor, Tensor]]:
        sides = RECIPE.data.patch, RECIPE.model.scale * RECIPE.data.patch
        lr, hr = (torch.zeros(2, 3, side, side, dtype=torch.uint8, device=GPU) for side in sides)
        return [(lr, hr)] * RECIPE.steps

    def broadcast(self, value: Any) -> Any:
        return value

    def rank_zero_first(self, local: bool) -> Any:
        return nullcontext()

    def backward(self, total: Tensor) -> None:
        total.backward()


def to(module: nn.Module, device: Any = None, **_: Any) -> nn.Module:
    """`Module.to`, which cannot move fake tensors; layouts stay as they are."""
    for part in module.modules() if isinstance(device, torch.device) else ():
        for name, parameter in part.named_parameters(recurse=False):
            moved = torch.zeros(parameter.shape, dtype=parameter.dtype, device=device)
            part.register_parameter(name, nn.Parameter(moved, parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            part.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))
    return module


def average(averaged: Any, network: nn.Module) -> None:
    """A step after the first. `AveragedModel` would read a value to know whether it is the first."""
    averaged.multi_avg_fn(list(averaged.module.parameters()), list(network.parameters()), averaged.n_averaged)


class FakeTensors(FakeTensorMode):
    """A fake tensor refers to its mode, which `AveragedModel` would copy with the network. Torch would then free each
    of the mode's weak references to storages twice, which corrupts the heap."""

    def __deepcopy__(self, memo: Any) -> "FakeTensors":
        return self


class OneDevice(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "copy" not in str(operation):
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.ndim]
            assert len({tensor.device for tensor in tensors}) <= 1, f"{operation} mixes devices"
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_nothing_is_on_the_wrong_device(ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have no values, so nothing is checked, saved or measured."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "to", to)
    monkeypatch.setattr(loop.AveragedModel, "update_parameters", average)
    monkeypatch.setattr(loop, "Fabric", FakeFabric)
    monkeypatch.setattr(loop, "build_optimizer", lambda _, network: torch.optim.Adam(network.parameters()))
    monkeypatch.setattr(RunState, "check_finite", lambda run, fabric: None)
    monkeypatch.setattr(RunState, "take_means", lambda run, fabric: {})
    monkeypatch.setattr(RunFolder, "save_state", lambda folder, state: kept.append(state))
    monkeypatch.setattr(Monitor, "_write_weights", lambda *_: None)
    recipe = dataclasses.replace(RECIPE, optimizer=dataclasses.replace(RECIPE.optimizer, ema=ema))
    for cached in (skip_kernel, loss_constant):  # fake tensors of another mode
        cached.cache_clear()
    with FakeTensors(allow_non_fake_inputs=True), OneDevice():
        trained = loop.train(recipe, [tmp_path / "a.png"], tmp_path / "run")
    assert trained.step == RECIPE.steps
    states = [kept[-1]["network"], *([kept[-1]["average"]] if ema else [])]
    assert {tensor.device for state in states for tensor in state.values() if tensor.ndim} == {GPU}
