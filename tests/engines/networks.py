from pathlib import Path

import torch

from tinysr_core.model.checkpoint import Checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR


def random_network(config: ModelConfig) -> TinySR:
    """Random weights, the same for each config, with a gate that depends on the picture."""
    torch.manual_seed(0)
    model = TinySR(config).eval().requires_grad_(False)
    if model.attention is not None:
        for layer in (model.attention.squeeze, model.attention.excite):
            layer.weight *= 4  # or the gate would hardly change
    return model


def random_checkpoint(config: ModelConfig, sha256: str = "") -> Checkpoint:
    tensors = {name: tensor.numpy() for name, tensor in random_network(config).state_dict().items()}
    return Checkpoint(Path("random"), config, {}, tensors, sha256)
