import dataclasses

import pytest

from tinysr_core.errors import CheckpointError
from tinysr_core.model.config import PRESETS, ModelConfig

CONFIGS = [
    ModelConfig(scale=1, channels=16, blocks=1),
    ModelConfig(scale=3, channels=20, blocks=2, attention=False),
    ModelConfig(scale=4, channels=64, blocks=10, reduction=8),
    *PRESETS.values(),
]


@pytest.mark.parametrize(
    ("preset", "scale", "parameters"),
    [
        ("tiny", 2, 277_140),
        ("tiny", 3, 284_445),
        ("tiny", 4, 294_672),
        ("paper", 2, 386_188),
        ("paper", 3, 394_843),
        ("paper", 4, 406_960),
        ("lite", 2, 100_812),
    ],
)
def test_parameter_counts_of_the_presets(preset: str, scale: int, parameters: int) -> None:
    assert dataclasses.replace(PRESETS[preset], scale=scale).parameters == parameters


@pytest.mark.parametrize("config", CONFIGS)
def test_the_shapes_tell_the_network(config: ModelConfig) -> None:
    found = ModelConfig.from_shapes(config.shapes)
    assert found.shapes == config.shapes
    assert (found.scale, found.channels, found.blocks, found.attention) == (
        config.scale,
        config.channels,
        config.blocks,
        config.attention,
    )


def test_foreign_shapes_are_refused() -> None:
    shapes = ModelConfig().shapes
    for foreign in (
        {},
        {"body.0.weight": (64, 3, 3, 3)},
        {name: shape for name, shape in shapes.items() if name != "trunk.3.bias"},
        shapes | {"extra": (1,)},
        shapes | {"tail.weight": (7, 54, 3, 3)},
    ):
        with pytest.raises(CheckpointError, match="not a TinySR network"):
            ModelConfig.from_shapes(foreign)


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"channels": 0}, {"blocks": 0}, {"channels": 8}])
def test_impossible_networks_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be at least|needs channels"):
        ModelConfig(**wrong)
