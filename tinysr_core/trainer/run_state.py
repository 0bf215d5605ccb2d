"""Everything that changes during training, and that is saved to resume it."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.optimizer import Optimizer
from torch.optim.swa_utils import AveragedModel

from ..errors import TrainingError
from ..model import TinySR
from .validation import Scores


@dataclass(frozen=True)
class Best:
    """The weights with the best score on the validation photographs so far."""

    step: int
    scores: Scores
    tensors: dict[str, Tensor]


class RunState:
    """The state of a run.

    Args:
        network: the network that is trained.
        average: the moving average of its weights; None if the recipe has none.
        optimizer: the optimiser.
        terms: the names of the loss terms, in the order in which the loss returns them.
    """

    def __init__(
        self, network: TinySR, average: AveragedModel | None, optimizer: Optimizer, terms: tuple[str, ...]
    ) -> None:
        self.network, self.average, self.optimizer = network, average, optimizer
        self.terms = ("total", *terms)
        self.step = 0
        self.seconds = 0.0
        """Time spent training, including earlier processes."""
        self.best: Best | None = None
        self.stale = 0
        """Validations since the best one."""
        self._sums = torch.zeros(len(self.terms))
        """Sums of the loss and its terms since their means were last taken, over `_count` steps."""
        self._count = 0

    @property
    def result(self) -> TinySR:
        """The network to validate and to save: the averaged one, if there is one."""
        # torch's types do not say that `module` has the type of the averaged network.
        return self.network if self.average is None else self.average.module  # pyright: ignore[reportReturnType]

    def add(self, step: int, total: Tensor, terms: dict[str, Tensor]) -> None:
        """Record the loss and its terms of a step, without waiting for the device."""
        self.step = step
        values = torch.stack([total.detach(), *(term.detach() for term in terms.values())])
        self._sums = self._sums.to(values.device) + values
        self._count += 1

    def take_means(self, fabric: Fabric) -> dict[str, float]:
        """The means of the loss and its terms since the last call, over all processes.

        Raises:
            TrainingError: one of them is NaN or infinite.
        """
        self.check_finite(fabric)
        means = (self._sums / self._count).tolist()
        self._sums, self._count = torch.zeros_like(self._sums), 0
        return dict(zip(self.terms, means, strict=True))

    def check_finite(self, fabric: Fabric) -> None:
        """Reduce the sums over all processes, and check that they and the weights are finite before they are saved.

        Raises:
            TrainingError: a value is NaN or infinite.
        """
        reduced = fabric.all_reduce(self._sums, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        self._sums = reduced
        finite = dict(zip(self.terms, self._sums.isfinite().tolist(), strict=True))
        broken = [name for name, good in finite.items() if not good and name != "total"]
        if not finite["total"]:
            what = f"loss term {' and '.join(broken)} is" if broken else "loss is"
        elif not all(bool(weight.isfinite().all()) for weight in self.network.parameters()):
            what = "network's output is"
        else:
            return
        raise TrainingError(
            f"The {what} not a number any more at step {self.step}; lower the learning rate. "
            "The last good state stays in the run folder."
        )

    def add_validation(self, scores: Scores, better: bool) -> None:
        """Record a validation. If it is `better` than all before, its weights become the best."""
        if better:
            tensors = {name: tensor.detach().clone() for name, tensor in self.result.state_dict().items()}
            self.best, self.stale = Best(self.step, scores, tensors), 0
        else:
            self.stale += 1

    def state(self) -> dict[str, Any]:
        """The state as tensors and plain values, for `torch.save`."""
        return {
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": None if self.best is None else {**vars(self.best), "scores": vars(self.best.scores)},
            "stale": self.stale,
            "sums": self._sums,
            "count": self._count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.stale = state["step"], state["seconds"], state["stale"]
        best: dict[str, Any] | None = state["best"]
        self.best = None if best is None else Best(best["step"], Scores(**best["scores"]), best["tensors"])
        self._sums, self._count = state["sums"], state["count"]
