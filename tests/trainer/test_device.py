import dataclasses
import math

import pytest

from tinysr_core.trainer.device import sized
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.recipe import OptimizerConfig, Recipe


@pytest.mark.parametrize(
    ("batch", "patch", "on_gpu", "expected", "gain"),
    [
        (0, 0, False, (8, 32), 1),
        (0, 0, True, (16, 64), math.sqrt(8)),
        (4, 0, True, (4, 64), math.sqrt(2)),
        (0, 32, True, (16, 32), math.sqrt(2)),
        (4, 32, True, (4, 32), 1),
    ],
)
def test_batch_and_patch_follow_the_device(
    batch: int, patch: int, on_gpu: bool, expected: tuple[int, int], gain: float
) -> None:
    recipe = Recipe(data=DataConfig(patch=patch, batch=batch), optimizer=OptimizerConfig(learning_rate=1e-4))
    fitted = sized(recipe, on_gpu)
    assert (fitted.data.batch, fitted.data.patch) == expected
    assert fitted.optimizer.learning_rate == pytest.approx(gain * 1e-4)
    assert sized(fitted, on_gpu) == fitted
    assert dataclasses.replace(fitted, data=recipe.data, optimizer=recipe.optimizer) == recipe
