"""The training loop: one readable function on Lightning Fabric."""

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from .. import __version__
from ..engines import computes_in_bf16, is_out_of_memory
from ..errors import MemoryLimitError, TrainingError
from ..images import fingerprint
from ..loss import Loss, Lpips
from ..model import Checkpoint, TinySR, relatives_of_descendant
from .device import sized
from .monitor import Monitor, Trained, TrainingProgress
from .optimizer import build_optimizer
from .patches import PatchDataset, batches
from .recipe import OptimizerConfig, Recipe, dump_recipe
from .run_folder import RunFolder
from .run_state import RunState
from .validation import Validator

MAX_WORKERS = 8
ASK_EVERY = 10
"""Several processes agree every so many steps on whether to save or stop: to agree is to wait for each other."""

KILLED = "killed by signal: Killed"
"""What the system does, where memory runs out, to a process that cuts patches."""


@contextmanager
def _memory_told() -> Generator[None]:
    """What torch says when memory runs out becomes a sentence with what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) and KILLED not in str(error):
            raise
        raise MemoryLimitError(
            "Memory ran out while training. Lower data.batch or data.patch, and train in a new run folder."
        ) from error


@_memory_told()
def train(
    recipe: Recipe,
    photos: Sequence[Path],
    run_folder: Path,
    *,
    validation: Sequence[Path] = (),
    name: str = "model",
    vgg_tensors: dict[str, Tensor] | None = None,
    lpips: Lpips | None = None,
    alex: Lpips | None = None,
    base: Checkpoint | None = None,
    max_minutes: float = math.inf,
    devices: int = 1,
    nodes: int = 1,
    report_every: int = 50,
    save_seconds: float = 30,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
) -> Trained:
    """Train a network, and say what came of it; its checkpoint is `name`-x`scale`.safetensors in `run_folder`.

    Called again with the same recipe and folder, it goes on from the last saved state, to the same weights as a run
    that was never stopped. `base` gives the first weights; tensors of another shape (the tail of another scale) start
    afresh. `validation` are photographs that are not trained on: the checkpoint has the weights that did best on them,
    by the recipe's judge; without them, the last weights. `lpips` (SqueezeNet) is for the loss, `alex` (AlexNet) for
    the judge lpips-alex. After `max_minutes` the state is saved and training stops short of its steps.

    A row of metrics.jsonl is written every `report_every` steps, the state every `save_seconds`.
    Under torchrun, `devices` is the number of processes on each of `nodes` machines. `report` is called after each
    step, in the first process.

    Raises:
        TrainingError: a loss term is not a number any more, the folder cannot be written to, is in use or holds another
            run, or the batch cannot be shared among the processes.
        MemoryLimitError: memory runs out.
        DataError: a photograph cannot be used.
    """
    fabric = Fabric(devices=devices, num_nodes=nodes)
    fabric.launch()
    recipe = sized(recipe, fabric.device.type != "cpu")
    if recipe.data.batch % fabric.world_size:
        raise TrainingError(
            f"A batch of {recipe.data.batch} cannot be shared by {fabric.world_size} processes; choose a multiple."
        )
    precision = _precision(recipe.precision, fabric.device)
    folder = RunFolder(run_folder)
    with folder.claimed() if fabric.is_global_zero else nullcontext():
        definition: dict[str, Any] = {}  # in the first process only, as the monitor below
        if fabric.is_global_zero:
            definition = {
                "recipe": dataclasses.asdict(recipe),
                "data_sha256": fingerprint(photos),
                "validation_sha256": fingerprint(validation),
                "base_sha256": None if base is None else base.sha256,
            }
            folder.keep_record(definition, _versions())
            folder.keep_recipe(dump_recipe(recipe))

        torch.manual_seed(recipe.seed)
        network = TinySR(recipe.model)
        if base is not None:
            _load_matching(network, base)
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
        decay = recipe.optimizer.ema
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        optimizer = build_optimizer(recipe.optimizer, network)
        model, optimizer = fabric.setup(network, optimizer)
        if average is not None:
            average.to(fabric.device)
        loss = Loss(recipe.loss, vgg_tensors, lpips, recipe.model.scale).to(fabric.device)
        loss = loss.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types

        run = RunState(network, average, optimizer, tuple(recipe.loss.weights))
        monitor = None
        if fabric.is_global_zero:
            validator = None
            if validation:
                config = recipe.validation
                validator = Validator(validation, recipe.model.scale, recipe.data, loss, config.judge, alex)
            origin = base if base is not None and base.config == recipe.model else None
            card = definition if origin is None else {**definition, **relatives_of_descendant(origin)}
            monitor = Monitor(folder, name, recipe, card, validator, max_minutes, report)
            monitor.measure_references(None if origin is None else network)
        validate_every: int = fabric.broadcast(monitor.interval if monitor else 0)
        saved: dict[str, Any] | None = fabric.broadcast(folder.load() if monitor else None)
        if saved is not None:
            run.restore(saved)
        if monitor:
            monitor.begin(run)

        with fabric.rank_zero_first(local=True):
            dataset = PatchDataset(photos, recipe.model.scale, recipe.data, recipe.seed, folder.photos)
        patience = recipe.validation.patience or math.inf
        steps = recipe.steps if run.stale < patience else run.step
        share = batches(run.step, steps, recipe.data.batch, fabric.global_rank, fabric.world_size)
        cuda = fabric.device.type == "cuda"
        workers = _workers(devices) if cuda else 1
        loader = DataLoader(dataset, batch_sampler=share, num_workers=workers, pin_memory=cuda)
        patches = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        before, begin, saved_at = run.seconds, time.monotonic(), time.monotonic()

        for step, (lr, hr) in enumerate(patches, run.step + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.optimizer, step, recipe.steps)
            # Not Fabric's own mixed precision: it rounds the input to bf16, and the picture the detail is added to.
            with precision():
                sr = model(_to_float(lr))
                total, terms = loss(sr.float(), _to_float(hr))
            optimizer.zero_grad()
            fabric.backward(total)
            optimizer.step()
            if average is not None:
                average.update_parameters(network)
            run.add(step, total, terms)

            last = step == recipe.steps
            if step % report_every == 0 or last:
                means = run.take_means(fabric)
                if monitor:
                    monitor.add_means(run, means)
            if validate_every and (step % validate_every == 0 or last):
                run.check(fabric)
                if monitor:
                    monitor.validate(run)
                run.stale = fabric.broadcast(run.stale)
            if monitor:
                monitor.progress(run)
            now = time.monotonic()
            run.seconds = before + now - begin
            out_of_time, save = _agree(fabric, step, (now - begin > 60 * max_minutes, now - saved_at > save_seconds))
            ends = last or out_of_time or run.stale >= patience
            if save or ends:
                run.check(fabric)
                if monitor:
                    folder.save(run.state())
                saved_at = now
            if ends:
                break

        trained = fabric.broadcast(monitor.finish(run) if monitor else None)
        assert trained is not None
        if trained.finished and fabric.local_rank == 0:
            dataset.photos.remove()
        return trained


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from the peak to the final rate. `step` counts from 1."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    swing = (config.learning_rate - config.final_learning_rate) / 2
    return config.final_learning_rate + swing * (1 + math.cos(math.pi * done))


def _precision(name: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """The context that the network and its loss are computed in."""
    if name not in ("fp32", "bf16", "auto"):
        raise TrainingError(f"There is no training in {name!r}; choose fp32, bf16 or auto.")
    if name == "fp32" or (name == "auto" and not computes_in_bf16(device)):
        return nullcontext
    try:
        torch.autocast(device.type, torch.bfloat16)
    except RuntimeError as error:  # `mps` before torch 2.5
        raise TrainingError(f"This torch cannot train in bf16 on {device.type}; choose fp32.") from error
    return partial(torch.autocast, device.type, torch.bfloat16)


def _workers(devices: int) -> int:
    """Processes that cut patches for each of `devices` fast ones. On a CPU, one is enough, and more are in the way."""
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // devices - 1))


def _agree(fabric: Fabric, step: int, wishes: tuple[bool, ...]) -> tuple[bool, ...]:
    """What the first process wants, by its clock. Among several processes, only every so many steps."""
    if fabric.world_size == 1:
        return wishes
    return fabric.broadcast(wishes) if step % ASK_EVERY == 0 else (False,) * len(wishes)


def _to_float(pixels: Tensor) -> Tensor:
    return pixels.to(memory_format=torch.channels_last).float() / 255


def _load_matching(network: TinySR, base: Checkpoint) -> None:
    own = network.state_dict()
    fitting = {
        name: torch.from_numpy(a) for name, a in base.tensors.items() if name in own and own[name].shape == a.shape
    }
    network.load_state_dict(own | fitting)


def _versions() -> dict[str, str]:
    python = platform.python_version()
    return {"tinysr": __version__, "python": python, "torch": torch.__version__, "lightning": lightning.__version__}
