import pytest

from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR
from tinysr_core.trainer.optimizer import build_optimizer
from tinysr_core.trainer.recipe import OptimizerConfig


@pytest.mark.parametrize("method", ["adam", "soap"])
def test_every_weight_has_the_rate_and_the_betas_of_the_recipe_and_no_decay(method: str) -> None:
    network = TinySR(ModelConfig(channels=16, blocks=1))
    config = OptimizerConfig(method=method, learning_rate=3e-4, betas=(0.8, 0.7))
    groups = build_optimizer(config, network).param_groups
    assert {(group["lr"], tuple(group["betas"]), group["weight_decay"]) for group in groups} == {(3e-4, (0.8, 0.7), 0)}
    weights = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(weights) == sorted(map(id, network.parameters()))
