import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysr_core.loss.terms import LossConfig
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR
from tinysr_core.trainer import TrainingProgress
from tinysr_core.trainer.loop import train
from tinysr_core.trainer.monitor import Trained
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.recipe import OptimizerConfig, Recipe
from tinysr_core.trainer.validation import Scores, ValidationConfig

RECIPE = Recipe(
    model=ModelConfig(channels=16, blocks=1),
    data=DataConfig(patch=8, batch=2),
    loss=LossConfig(vgg=0, edge=0, lab=0, l1=1),
    optimizer=OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-3, warmup=0, ema=0),
    validation=ValidationConfig(every=2),
    steps=12,
)
WILD = OptimizerConfig(learning_rate=0.05, final_learning_rate=0.05, warmup=0, ema=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(3)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.NEAREST).save(path)
    return paths


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network that adds nothing to bicubic."""
    network = TinySR(RECIPE.model)
    network.tail.requires_grad_(False).weight.zero_()
    path = tmp_path_factory.mktemp("base") / "plain-x2.safetensors"
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    write_checkpoint(path, RECIPE.model, tensors, {})
    return read_checkpoint(path)


def validations(folder: Path) -> dict[int, float]:
    """PSNR by step."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["validation"]["psnr"] for row in rows if "validation" in row}


def run(recipe: Recipe, photos: list[Path], folder: Path, **options: Any) -> Trained:
    return train(recipe, photos[1:], folder, validation=photos[:1], **options)


def test_equal_scores_are_neither_better_nor_worse() -> None:
    scores = {"bicubic": Scores(30), "base": Scores(31.0, 0.1), "trained": Scores(31.0, 0.1)}
    trained = Trained(Path("a"), 7, True, "Finished after 9 steps.", "psnr", scores)
    assert trained.better_than_base is False
    assert trained.verdict.startswith("Fine-tuning changed nothing: PSNR-Y 31.00 dB")


def test_the_best_weights_are_saved_and_a_worse_result_is_reported(
    photos: list[Path], base: Checkpoint, tmp_path: Path
) -> None:
    trained = run(dataclasses.replace(RECIPE, optimizer=WILD), photos, tmp_path, base=base)
    psnr = validations(tmp_path)
    assert list(psnr) == [2, 4, 6, 8, 10, 12]
    assert psnr[trained.step] == max(psnr.values()) == trained.scores["trained"].psnr
    assert trained.better_than_base is False
    assert trained.verdict.startswith("Fine-tuning made it worse: PSNR-Y ")
    assert trained.verdict.endswith(" Keep the base weights.")
    card = read_checkpoint(trained.path).card
    assert card["step"] == trained.step
    assert card["validation"]["trained"]["psnr"] == trained.scores["trained"].psnr
    assert card["twin"] == "plain-x2"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Keep the base weights" in page
    assert "Finished after 12 steps." in page
    columns = 5
    assert Image.open(tmp_path / "preview.png").width > columns * 96


def test_training_ends_when_nothing_gets_better(photos: list[Path], base: Checkpoint, tmp_path: Path) -> None:
    still = dataclasses.replace(
        RECIPE,
        optimizer=OptimizerConfig(learning_rate=0, final_learning_rate=0),
        validation=ValidationConfig(every=2, patience=3),
    )
    trained = run(still, photos, tmp_path, base=base)
    assert list(validations(tmp_path)) == [2, 4, 6, 8]
    assert (trained.step, trained.finished, trained.better_than_base) == (2, True, False)
    assert trained.ended == "Stopped after step 8 of 12: no improvement in 3 validations."
    assert trained.ended in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert run(still, photos, tmp_path, base=base) == trained  # it is finished: nothing is left to train


def test_the_time_limit_saves_the_current_weights_if_they_are_the_best(photos: list[Path], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, validation=ValidationConfig(every=100))
    trained = run(recipe, photos, tmp_path, max_minutes=0)
    assert (trained.step, trained.finished) == (1, False)
    assert trained.scores.keys() == {"bicubic", "trained"}
    assert validations(tmp_path) == {}  # an uninterrupted run would not have measured here
    assert trained.ended == "Time limit reached at step 1 of 12; run the same command to resume."


def test_progress_tells_of_references_terms_and_scores(photos: list[Path], base: Checkpoint, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    run(dataclasses.replace(RECIPE, steps=4), photos, tmp_path, base=base, report=seen.append, report_every=3)
    assert [set(progress.scores) for progress in seen] == [
        {"bicubic", "base"},
        *[{"bicubic", "base", "now"}] * 3,
    ]
    assert [set(progress.terms) for progress in seen] == [set(), set(), {"total", "l1"}, {"total", "l1"}]
    assert [progress.seconds_left > 0 for progress in seen] == [True, True, True, False]
    assert seen[0].judge == "psnr"


def test_a_base_of_another_shape_is_no_reference(photos: list[Path], base: Checkpoint, tmp_path: Path) -> None:
    larger = dataclasses.replace(RECIPE, model=dataclasses.replace(RECIPE.model, scale=3), steps=2)
    trained = run(larger, photos, tmp_path, base=base)
    assert trained.scores.keys() == {"bicubic", "trained"}
    assert trained.better_than_base is None
    assert trained.verdict.startswith("The best weights by PSNR-Y are those of step 2: PSNR-Y ")


def test_verdicts() -> None:
    scores = {"bicubic": Scores(30, 0.2), "base": Scores(31, 0.1), "trained": Scores(30.9, 0.09)}
    trained = Trained(Path("a"), 7, True, "Finished after 9 steps.", "lpips", scores)
    assert trained.better_than_base
    assert trained.verdict == (
        "The best weights by LPIPS are those of step 7: PSNR-Y 30.90 dB (base 31.00 dB), LPIPS 0.0900 (base 0.1000)."
    )
    assert not dataclasses.replace(trained, judge="psnr").better_than_base
