import dataclasses
import itertools
import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tinysr_core.errors import MemoryLimitError, TrainingError
from tinysr_core.loss.terms import LossConfig
from tinysr_core.model.checkpoint import read_checkpoint, write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR
from tinysr_core.trainer import TrainingProgress, loop
from tinysr_core.trainer.loop import learning_rate, train
from tinysr_core.trainer.optimizer import build_optimizer
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.recipe import OptimizerConfig, Recipe
from tinysr_core.trainer.validation import ValidationConfig

RECIPE = Recipe(
    model=ModelConfig(channels=16, blocks=2),
    data=DataConfig(patch=12, batch=4, max_rotation=10),
    loss=LossConfig(vgg=0, edge=0.2, lab=0.01, l1=1, fft=0.01),
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup=5, ema=0.9),
    validation=ValidationConfig(every=10),
    steps=40,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Coarse random blocks with sharp edges, which a network can learn to sharpen."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths: list[Path] = []
    for i in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        path = folder / f"{i}.png"
        coarse.resize((96, 96), Image.Resampling.NEAREST).save(path)
        paths.append(path)
    return paths


def weights(path: Path) -> dict[str, np.ndarray]:
    return dict(read_checkpoint(path).tensors)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_makes_the_loss_smaller(photos: list[Path], tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    recipe = dataclasses.replace(RECIPE, steps=150)
    trained = train(recipe, photos, tmp_path, report_every=25, report=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 151))
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [25, 50, 75, 100, 125, 150]
    assert rows[-1]["l1"] < 0.95 * rows[0]["l1"]
    assert {name: rows[-1][name] for name in ("total", "edge", "lab", "l1", "fft")} == seen[-1].terms
    assert (trained.step, trained.finished, trained.better_than_base, trained.verdict) == (150, True, None, "")


@pytest.mark.parametrize("method", ["adam", "soap"])
def test_an_interrupted_run_reaches_the_same_weights(photos: list[Path], tmp_path: Path, method: str) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 31:
            raise KeyboardInterrupt

    recipe = dataclasses.replace(RECIPE, optimizer=dataclasses.replace(RECIPE.optimizer, method=method))
    straight = train(recipe, photos, tmp_path / "straight", validation=photos[:1], report_every=8)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "broken", validation=photos[:1], report_every=8, save_seconds=0, report=stop)
    (tmp_path / "broken" / "metrics.jsonl").open("a").write('{"step": 32, "minutes"')  # killed while writing
    resumed = train(recipe, photos, tmp_path / "broken", validation=photos[:1], report_every=8)
    assert resumed.path.read_bytes() == straight.path.read_bytes()
    assert resumed.scores == straight.scores
    rows, others = (rows_of(tmp_path / name) for name in ("straight", "broken"))
    assert [row | {"minutes": 0} for row in rows] == [row | {"minutes": 0} for row in others]


@pytest.mark.parametrize(
    ("change", "advice"),
    [({"optimizer": OptimizerConfig(method="adamm")}, "choose adam or soap"), ({"precision": "fp8"}, "bf16 or auto")],
)
def test_unknown_method_or_precision_is_refused(
    photos: list[Path], tmp_path: Path, change: dict[str, object], advice: str
) -> None:
    with pytest.raises(TrainingError, match=advice):
        train(dataclasses.replace(RECIPE, **change), photos, tmp_path)


def test_bf16_keeps_the_picture_itself_in_full_precision(photos: list[Path], tmp_path: Path) -> None:
    """A network that adds nothing to bicubic has the same loss in fp32 and bf16."""
    network = TinySR(RECIPE.model)
    network.tail.requires_grad_(False).weight.zero_()
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    write_checkpoint(tmp_path / "bicubic.safetensors", RECIPE.model, tensors, {})
    base = read_checkpoint(tmp_path / "bicubic.safetensors")
    seen: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        recipe = dataclasses.replace(RECIPE, precision=precision, steps=1)

        train(recipe, photos, tmp_path / precision, base=base)
        seen[precision] = rows_of(tmp_path / precision)[-1]["l1"]
    assert seen["bf16"] == pytest.approx(seen["fp32"], rel=1e-6)


def test_bf16_needs_a_torch_that_has_it_on_the_device(photos: list[Path], tmp_path: Path) -> None:
    """For example `mps` before torch 2.5. Training in fp32 works there."""
    assert loop._precision("fp32", torch.device("lazy")) is nullcontext
    assert loop._precision("auto", torch.device("lazy")) is nullcontext
    with pytest.raises(TrainingError, match="cannot train in bf16 on lazy; choose fp32"):
        loop._precision("bf16", torch.device("lazy"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        MemoryError(),
    ],
)
def test_out_of_memory_is_explained_and_the_folder_is_unlocked(
    error: Exception, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loss, "forward", fail)
        with pytest.raises(MemoryLimitError, match=r"Lower data\.batch or data\.patch") as told:
            train(RECIPE, photos, tmp_path)
    assert told.value.__cause__ is error
    assert train(RECIPE, photos, tmp_path).finished


def test_other_errors_stay_what_they_are(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(loop.Loss, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        train(RECIPE, photos, tmp_path)


def test_time_limit_saves_and_stops(photos: list[Path], tmp_path: Path) -> None:
    first = train(RECIPE, photos, tmp_path / "short", max_minutes=0)
    assert (first.step, first.finished, read_checkpoint(first.path).card["step"]) == (1, False, 1)
    again = train(RECIPE, photos, tmp_path / "short")
    assert (again.step, again.finished) == (RECIPE.steps, True)
    whole = train(RECIPE, photos, tmp_path / "whole")
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert rows_of(tmp_path / "short")[-1]["total"] == rows_of(tmp_path / "whole")[-1]["total"]


def test_a_loss_that_breaks_is_named_and_the_last_good_state_stays(photos: list[Path], tmp_path: Path) -> None:
    wild = dataclasses.replace(RECIPE, optimizer=OptimizerConfig(learning_rate=1e20, warmup=0))
    with pytest.raises(TrainingError, match=r"loss term .*lab.* not a number any more at step 20.*last good state"):
        train(wild, photos, tmp_path, report_every=20)
    assert not (tmp_path / "state.pt").exists()


def test_a_folder_keeps_to_its_recipe(photos: list[Path], tmp_path: Path) -> None:
    train(RECIPE, photos, tmp_path)
    with pytest.raises(TrainingError, match="another recipe"):
        train(dataclasses.replace(RECIPE, seed=1), photos, tmp_path)
    with pytest.raises(TrainingError, match="another data_sha256"):
        train(RECIPE, photos[:2], tmp_path)


def test_a_base_of_another_scale_gives_its_trunk(photos: list[Path], tmp_path: Path) -> None:
    base = read_checkpoint(train(RECIPE, photos, tmp_path / "x2").path)
    still = OptimizerConfig(learning_rate=0, final_learning_rate=0)
    larger = dataclasses.replace(RECIPE, model=dataclasses.replace(RECIPE.model, scale=3), optimizer=still, steps=1)
    started = weights(train(larger, photos, tmp_path / "x3", base=base).path)
    for name, tensor in base.tensors.items():
        if not name.startswith("tail"):
            np.testing.assert_array_equal(started[name], tensor)
    assert started["tail.weight"].shape[0] == 27


def test_the_average_follows_the_weights_with_its_decay(photos: list[Path], tmp_path: Path) -> None:
    """Checked in the saved state of each step."""
    states: list[dict[str, Any]] = []

    def look(progress: TrainingProgress) -> None:
        if progress.step > 1:
            states.append(torch.load(tmp_path / "state.pt", weights_only=True))

    train(dataclasses.replace(RECIPE, steps=5), photos, tmp_path, save_seconds=0, report=look)
    for before, after in itertools.pairwise(states):
        for name, weight in after["network"].items():
            expected = 0.9 * before["average"][f"module.{name}"] + 0.1 * weight
            torch.testing.assert_close(after["average"][f"module.{name}"], expected)
            assert not torch.equal(weight, before["network"][name]) or name.startswith("attention")


def test_the_loss_knows_the_networks_scale(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Noted(loop.Loss):
        def __init__(self, config: Any, vgg: Any = None, lpips: Any = None, scale: int = 1) -> None:
            super().__init__(config, vgg, lpips, scale)
            seen.append(scale)

    monkeypatch.setattr(loop, "Loss", Noted)
    model = dataclasses.replace(RECIPE.model, scale=3)
    train(dataclasses.replace(RECIPE, model=model, steps=1), photos, tmp_path)
    assert seen == [3]


def test_without_averaging_the_weights_themselves_are_saved(photos: list[Path], tmp_path: Path) -> None:
    plain = dataclasses.replace(RECIPE, optimizer=dataclasses.replace(RECIPE.optimizer, ema=0))
    saved = weights(train(plain, photos, tmp_path).path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.testing.assert_close(torch.from_numpy(saved["head.weight"]), state["network"]["head.weight"])
    assert TinySR(RECIPE.model).load_state_dict({n: torch.from_numpy(t) for n, t in saved.items()})


@pytest.mark.parametrize("method", ["adam", "soap"])
def test_every_step_has_the_learning_rate_of_the_schedule(
    method: str, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warm-up, peak and end, for all groups of weights."""
    rates: list[set[float]] = []

    def observed(*arguments: Any) -> torch.optim.Optimizer:
        optimizer = build_optimizer(*arguments)
        optimizer.register_step_pre_hook(lambda own, *_: rates.append({group["lr"] for group in own.param_groups}))
        return optimizer

    monkeypatch.setattr(loop, "build_optimizer", observed)
    config = OptimizerConfig(method, learning_rate=1e-3, final_learning_rate=1e-4, warmup=2)
    train(dataclasses.replace(RECIPE, optimizer=config, steps=6), photos, tmp_path)
    cosine = [5.5e-4 + 4.5e-4 * math.cos(math.pi * done / 4) for done in range(5)]
    assert [rate for each in rates for rate in each] == pytest.approx([5e-4, *cosine])


def test_schedule() -> None:
    config = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, warmup=10)
    assert learning_rate(config, 1, 110) == pytest.approx(0.1)
    assert learning_rate(config, 10, 110) == pytest.approx(1.0)
    assert learning_rate(config, 60, 110) == pytest.approx(0.55)
    assert learning_rate(config, 110, 110) == pytest.approx(0.1)
    held = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-3, warmup=0)
    assert {learning_rate(held, step, 50) for step in (1, 25, 50)} == {1e-3}
