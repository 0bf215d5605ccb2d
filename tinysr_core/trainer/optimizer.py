"""The optimisers that a recipe can name."""

from pytorch_optimizer import SOAP
from torch.optim import Adam, Optimizer

from ..errors import TrainingError
from ..model import TinySR
from .recipe import OptimizerConfig


def build_optimizer(config: OptimizerConfig, network: TinySR) -> Optimizer:
    """The optimiser of a recipe, for all weights of `network`.

    `soap` is Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024). It treats the weights of a conv as
    a matrix of outputs by inputs times kernel taps. Comparison with Adam: benchmarks/results/training.md.

    Raises:
        TrainingError: the method is unknown.
    """
    rate, betas = config.learning_rate, config.betas
    if config.method == "adam":
        return Adam(network.parameters(), lr=rate, betas=betas, fused=True)
    if config.method == "soap":
        matrix = {"merge_dims": True, "max_precondition_dim": 9 * network.config.channels}
        weights = list(network.parameters())
        groups = [
            {"params": [weight for weight in weights if weight.ndim == 4], **matrix},
            {"params": [weight for weight in weights if weight.ndim != 4]},
        ]
        return SOAP(groups, lr=rate, betas=betas, weight_decay=0.0)
    raise TrainingError(f"Unknown optimiser {config.method!r}; choose adam or soap.")
