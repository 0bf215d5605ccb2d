"""The training loop, on Lightning Fabric."""

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
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
from ..model import SUFFIX, Checkpoint, TinySR, relatives_of_descendant
from .device import sized
from .monitor import Monitor, Trained, TrainingProgress
from .optimizer import build_optimizer
from .patches import PatchDataset, batches
from .recipe import OptimizerConfig, Recipe, dump_recipe
from .run_folder import RunFolder
from .run_state import RunState
from .validation import Validator

MAX_WORKERS = 8
AGREE_EVERY = 10
"""Steps between the decisions of several processes to save or to stop. Deciding makes them wait for each other."""
KILLED = "killed by signal: Killed"
"""Part of torch's message when the system kills a data worker because memory ran out."""


@contextmanager
def _explain_out_of_memory() -> Generator[None]:
    """Turn the errors of torch that mean that memory ran out into `MemoryLimitError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) and KILLED not in str(error):
            raise
        raise MemoryLimitError(
            "Memory ran out while training. Lower data.batch or data.patch, and use a new run folder."
        ) from error


@_explain_out_of_memory()
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
    """Train a network. Its checkpoint is NAME-xSCALE.safetensors in `run_folder`.

    Called again with the same recipe, photographs and folder, training resumes from the last saved state. It reaches
    the same weights as a run that was never interrupted.

    Args:
        recipe: what to train, and how.
        photos: the photographs to train on.
        run_folder: the folder for the files of the run, see `RunFolder`.
        validation: photographs that are not trained on. The checkpoint has the weights with the best score on them, by
            the recipe's judge; without photographs, it has the last weights.
        name: NAME in the file name and the title of the checkpoint.
        vgg_tensors: VGG19 for the loss term vgg.
        lpips: LPIPS with SqueezeNet for the loss term lpips.
        alex: LPIPS with AlexNet for the judge lpips-alex.
        base: the initial weights. Tensors of another shape, such as the tail of another scale, start from random ones.
        max_minutes: after this time, save the state and stop before the last step.
        devices: under torchrun, the number of processes on each machine.
        nodes: under torchrun, the number of machines.
        report_every: steps from one row of metrics.jsonl to the next.
        save_seconds: seconds from one saved state to the next.
        report: called after each step, in the first process only.

    Raises:
        TrainingError: the loss is NaN or infinite; the folder cannot be written to, is in use, or holds another run;
            the batch cannot be divided among the processes; the recipe names an unknown method or precision, or a judge
            whose network is missing.
        MemoryLimitError: memory runs out.
        DataError: a photograph is too small, a folder of the recipe's shares has no photographs, or the disk is full.
        PictureError: a photograph cannot be read.
    """
    fabric = Fabric(devices=devices, num_nodes=nodes)
    fabric.launch()
    recipe = sized(recipe, fabric.device.type != "cpu")
    if recipe.data.batch % fabric.world_size:
        raise TrainingError(
            f"A batch of {recipe.data.batch} cannot be divided among {fabric.world_size} processes; choose a multiple."
        )
    precision = _precision(recipe.precision, fabric.device)
    folder = RunFolder(run_folder)
    with folder.lock() if fabric.is_global_zero else nullcontext():
        definition: dict[str, Any] = {}  # only the first process has one, and the monitor below
        if fabric.is_global_zero:
            definition = {
                "recipe": dataclasses.asdict(recipe),
                "data_sha256": fingerprint(photos),
                "validation_sha256": fingerprint(validation),
                "base_sha256": None if base is None else base.sha256,
            }
            folder.save_definition(definition, _versions())
            folder.save_recipe(dump_recipe(recipe))

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
            parent = base if base is not None and base.config == recipe.model else None
            monitor = Monitor(folder, name, recipe, _card(definition, parent), validator, max_minutes, report)
            monitor.measure_references(None if parent is None else network)
        validate_every: int = fabric.broadcast(monitor.interval if monitor else 0)
        saved: dict[str, Any] | None = fabric.broadcast(folder.load_state() if monitor else None)
        if saved is not None:
            run.restore(saved)
        if monitor:
            monitor.begin(run)

        with fabric.rank_zero_first(local=True):
            dataset = PatchDataset(photos, recipe.model.scale, recipe.data, recipe.seed, folder.photos)
        patience = recipe.validation.patience or math.inf
        steps = recipe.steps if run.stale < patience else run.step
        indices = batches(run.step, steps, recipe.data.batch, fabric.global_rank, fabric.world_size)
        cuda = fabric.device.type == "cuda"
        workers = _workers(devices) if cuda else 1
        loader = DataLoader(dataset, batch_sampler=indices, num_workers=workers, pin_memory=cuda)
        patches = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        seconds_before, started, saved_at = run.seconds, time.monotonic(), time.monotonic()

        for step, (lr, hr) in enumerate(patches, run.step + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.optimizer, step, recipe.steps)
            # Not Fabric's mixed precision: it would round the input, and so the bicubic skip, to bf16.
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
                run.check_finite(fabric)
                if monitor:
                    monitor.validate(run)
                run.stale = fabric.broadcast(run.stale)
            if monitor:
                monitor.report_progress(run)
            now = time.monotonic()
            run.seconds = seconds_before + now - started
            wishes = now - started > 60 * max_minutes, now - saved_at > save_seconds
            out_of_time, save = _agree(fabric, step, wishes)
            ends = last or out_of_time or run.stale >= patience
            if save or ends:
                run.check_finite(fabric)
                if monitor:
                    folder.save_state(run.state())
                saved_at = now
            if ends:
                break

        trained = fabric.broadcast(monitor.finish(run) if monitor else None)
        assert trained is not None
        if trained.finished and fabric.local_rank == 0:
            dataset.photos.remove()
        return trained


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine from the peak to the final rate. `step` counts from 1 to `steps`."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    amplitude = (config.learning_rate - config.final_learning_rate) / 2
    return config.final_learning_rate + amplitude * (1 + math.cos(math.pi * done))


def _precision(name: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """The autocast context for the network, or no context for fp32."""
    if name not in ("fp32", "bf16", "auto"):
        raise TrainingError(f"Training in {name!r} is not possible; choose fp32, bf16 or auto.")
    if name == "fp32" or (name == "auto" and not computes_in_bf16(device)):
        return nullcontext
    try:
        torch.autocast(device.type, torch.bfloat16)
    except RuntimeError as error:  # `mps` before torch 2.5
        raise TrainingError(f"This torch cannot train in bf16 on {device.type}; choose fp32.") from error
    return partial(torch.autocast, device.type, torch.bfloat16)


def _workers(devices: int) -> int:
    """Number of data workers for each of `devices` GPUs of this machine."""
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // devices - 1))


def _agree(fabric: Fabric, step: int, wishes: tuple[bool, ...]) -> tuple[bool, ...]:
    """The wishes of the first process, by its clock, for all processes. Several processes agree every `AGREE_EVERY`
    steps."""
    if fabric.world_size == 1:
        return wishes
    return fabric.broadcast(wishes) if step % AGREE_EVERY == 0 else (False,) * len(wishes)


def _to_float(pixels: Tensor) -> Tensor:
    """uint8 [B,3,H,W] -> float32 in [0,1]."""
    return pixels.to(memory_format=torch.channels_last).float() / 255


def _card(definition: Mapping[str, Any], parent: Checkpoint | None) -> dict[str, Any]:
    """The card of the checkpoint: what defines the run, and the relatives of a network fine-tuned from `parent`.

    Checkpoints are shared, so a base that was given by its path is named by its file name alone.
    """
    recipe = {**definition["recipe"], "base": Path(definition["recipe"]["base"]).name.removesuffix(SUFFIX)}
    relatives = {} if parent is None else relatives_of_descendant(parent)
    return {**definition, "recipe": recipe, **relatives}


def _load_matching(network: TinySR, base: Checkpoint) -> None:
    """Load the tensors of `base` that have the shapes of `network`."""
    own = network.state_dict()
    fitting = {
        name: torch.from_numpy(a) for name, a in base.tensors.items() if name in own and own[name].shape == a.shape
    }
    network.load_state_dict(own | fitting)


def _versions() -> dict[str, str]:
    python = platform.python_version()
    return {"tinysr": __version__, "python": python, "torch": torch.__version__, "lightning": lightning.__version__}
