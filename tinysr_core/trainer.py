"""The training loop: one readable function on Lightning Fabric."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from .checkpoint import Checkpoint, write_checkpoint
from .data import PatchDataset, batches
from .detail import twin_of_descendant
from .errors import TrainingError
from .files import atomic_write
from .loss import Loss
from .lpips import Lpips
from .model import TinySR
from .optimizer import build_optimizer
from .photos import fingerprint
from .recipe import OptimizerConfig, Recipe

STATE_FILE = "state.pt"
METRICS_FILE = "metrics.jsonl"
RECORD_FILE = "run.json"
CACHE_FILE = "photos.cache"

Report = Callable[[int, dict[str, float]], None]
"""Called with the step and the mean of each loss term since the last call."""


def train(
    recipe: Recipe,
    photos: Sequence[Path],
    run_folder: Path,
    *,
    name: str = "model",
    vgg_tensors: dict[str, Tensor] | None = None,
    lpips: Lpips | None = None,
    base: Checkpoint | None = None,
    max_minutes: float = math.inf,
    save_every: int = 500,
    report_every: int = 50,
    report: Report = lambda step, terms: None,
) -> Path:
    """Train a network and return the path of its checkpoint, `name`-x`scale`.safetensors in `run_folder`.

    Called again with the same recipe and folder, it goes on from the last saved state, to the same weights as a run
    that was never stopped. `base` gives the first weights; tensors of another shape (the tail of another scale) start
    afresh. After `max_minutes` the state is saved and training stops short of its steps.

    Raises:
        TrainingError: a loss term is not a number any more, or the folder holds a run of another recipe.
        DataError: a photograph cannot be used.
    """
    if recipe.precision not in ("fp32", "bf16"):
        raise TrainingError(f"There is no training in {recipe.precision!r}; choose fp32 or bf16.")
    fabric = Fabric(devices=1)
    fabric.launch()
    run_folder.mkdir(parents=True, exist_ok=True)
    record = {
        "recipe": dataclasses.asdict(recipe),
        "data_sha256": fingerprint(photos),
        "base_sha256": None if base is None else base.sha256,
    }
    _keep_record(run_folder / RECORD_FILE, record)

    torch.manual_seed(recipe.seed)
    network = TinySR(recipe.model)
    if base is not None:
        _load_matching(network, base)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.optimizer.ema))
    optimizer = build_optimizer(recipe.optimizer, network)
    model, optimizer = fabric.setup(network, optimizer)
    average.to(fabric.device)
    loss = Loss(recipe.loss, vgg_tensors, lpips).to(fabric.device)

    state: dict[str, Any] = {"network": network, "optimizer": optimizer, "average": average, "step": 0}
    state_file = run_folder / STATE_FILE
    weights_file = run_folder / f"{name}-x{recipe.model.scale}.safetensors"
    card = {"title": f"{name} ×{recipe.model.scale}", **record}
    if base is not None and base.config == recipe.model:
        card["twin"] = twin_of_descendant(base)
    if state_file.is_file():
        fabric.load(state_file, state)
    start: int = state["step"]

    dataset = PatchDataset(photos, recipe.model.scale, recipe.data, recipe.seed, run_folder / CACHE_FILE)
    share = batches(start, recipe.steps, recipe.data.batch, fabric.global_rank, fabric.world_size)
    loader = DataLoader(dataset, batch_sampler=share, num_workers=1, pin_memory=fabric.device.type == "cuda")
    begin = time.monotonic()
    recent: list[dict[str, Tensor]] = []

    for step, (lr, hr) in enumerate(fabric.setup_dataloaders(loader), start + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe.optimizer, step, recipe.steps)
        # Not Fabric's own mixed precision: it rounds the input to bf16, and the picture that the detail is added to.
        with torch.autocast(fabric.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            sr = model(_to_float(lr))
            total, terms = loss(sr.float(), _to_float(hr))
        optimizer.zero_grad()
        fabric.backward(total)
        optimizer.step()
        average.update_parameters(network)
        recent.append({"total": total.detach(), **{name: term.detach() for name, term in terms.items()}})

        minutes = (time.monotonic() - begin) / 60
        last = step == recipe.steps or minutes > max_minutes
        if step % report_every == 0 or step % save_every == 0 or last:
            means = {name: float(torch.stack([terms[name] for terms in recent]).mean()) for name in recent[0]}
            recent.clear()
            _check_finite(means, step, state_file)
            report(step, means)
            _append_metrics(run_folder / METRICS_FILE, {"step": step, "minutes": minutes, **means})
        if step % save_every == 0 or last:
            state["step"] = step
            with atomic_write(state_file) as temporary:
                fabric.save(temporary, state)
            best = average.module if recipe.optimizer.ema else network
            write_checkpoint(weights_file, recipe.model, _tensors(best), {**card, "step": step})
        if last:
            break
    dataset.photos.remove()
    return weights_file


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from the peak to the final rate. `step` counts from 1."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    swing = (config.learning_rate - config.final_learning_rate) / 2
    return config.final_learning_rate + swing * (1 + math.cos(math.pi * done))


def _to_float(pixels: Tensor) -> Tensor:
    return pixels.to(memory_format=torch.channels_last).float() / 255


def _load_matching(network: TinySR, base: Checkpoint) -> None:
    own = network.state_dict()
    fitting = {
        name: torch.from_numpy(a) for name, a in base.tensors.items() if name in own and own[name].shape == a.shape
    }
    network.load_state_dict(own | fitting)


def _tensors(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.float().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}


def _check_finite(means: dict[str, float], step: int, state_file: Path) -> None:
    broken = [name for name, mean in means.items() if not math.isfinite(mean) and name != "total"] or [
        name for name, mean in means.items() if not math.isfinite(mean)
    ]
    if broken:
        raise TrainingError(
            f"The loss term {' and '.join(broken)} is not a number any more at step {step}; lower the learning rate. "
            f"The last good state stays in {state_file}."
        )


def _keep_record(path: Path, record: dict[str, Any]) -> None:
    """Write down what defines the run, or make sure that it is what was written down before."""
    text = json.dumps(record, indent=1, sort_keys=True)
    if not path.is_file():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise TrainingError(f"{path.parent} holds a run of another recipe, base or data; give another run folder.")


def _append_metrics(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
