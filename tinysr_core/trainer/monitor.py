"""Measures a run on the validation photographs, chooses the best weights and writes them."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..evaluation import Method, interpolation, to_8_bits, to_float
from ..images import Pixels8
from ..model import TinySR, write_checkpoint
from .recipe import Recipe
from .run_folder import RunFolder
from .run_report import RunReport
from .run_state import RunState
from .validation import METRIC_NAMES, Judge, Measured, Scores, Validator, comparison


@dataclass(frozen=True)
class TrainingProgress:
    """Where training is after a step."""

    step: int
    steps: int
    seconds_left: float
    """Until it ends, by the pace so far."""
    terms: Mapping[str, float]
    """Newest means of the loss, under "total", and of its terms; empty at first."""
    scores: Mapping[str, Scores]
    """Newest figures on the validation photographs: "bicubic", "base" where there is one, "now" once there are some."""
    judge: Judge | None


@dataclass(frozen=True)
class Trained:
    """What a run came to."""

    path: Path
    """The checkpoint."""
    step: int
    """The step that its weights are of."""
    finished: bool
    """False where time was up: the same command goes on."""
    ended: str
    """Why training is over, in a sentence."""
    judge: Judge | None
    """The metric that chose the weights; None without validation photographs."""
    scores: Mapping[str, Scores]
    """On the validation photographs: of "bicubic", of "base" where there is one of this scale, and of "trained"."""

    @property
    def better_than_base(self) -> bool | None:
        """Whether the trained weights are better; None where that is not known."""
        if self.judge is None or "base" not in self.scores:
            return None
        return self.scores["trained"].better_than(self.scores["base"], self.judge)

    @property
    def verdict(self) -> str:
        """What to think of the weights; empty where nothing was measured."""
        if self.judge is None:
            return ""
        figures = comparison(self.scores, "trained")
        if self.better_than_base is False:
            outcome = "changed nothing" if self.scores["trained"] == self.scores.get("base") else "made it worse"
            return f"Fine-tuning {outcome}: {figures}. Keep the base weights."
        return f"The best weights, by {METRIC_NAMES[self.judge]}, are those of step {self.step}: {figures}."


class Monitor:
    """The one process that measures and writes. What decides the weights is kept in `RunState`."""

    def __init__(
        self,
        folder: RunFolder,
        name: str,
        recipe: Recipe,
        card: Mapping[str, Any],
        validator: Validator | None,
        max_minutes: float,
        report: Callable[[TrainingProgress], None],
    ) -> None:
        self.folder, self.recipe, self.validator, self.tell = folder, recipe, validator, report
        title = f"{name} ×{recipe.model.scale}"
        self.report = RunReport(folder, title, recipe.model.scale, validator)
        self.card = {"title": title, **card}
        self.weights_file = folder.path / f"{name}-x{recipe.model.scale}.safetensors"
        self.max_seconds = 60 * max_minutes
        self.references: dict[str, Measured] = {}
        self.now: Measured | None = None
        self.terms: Mapping[str, float] = {}

    @property
    def interval(self) -> int:
        """Steps from one validation to the next; 0 without validation photographs."""
        if self.validator is None:
            return 0
        data = self.recipe.data
        return self.validator.interval(self.recipe.validation, data.batch * data.patch**2)

    def measure_references(self, base: TinySR | None) -> None:
        """Measure bicubic, and the network `base` that training starts from."""
        if self.validator is not None:
            self.references["bicubic"] = self.validator.measure(interpolation("bicubic", self.recipe.model.scale))
            if base is not None:
                self.references["base"] = self.validator.measure(_method(base))

    def begin(self, run: RunState) -> None:
        """Go on where `run` is: forget what was measured after that, by a process that was killed."""
        self.report.resume(run.step)
        self.begun, self.first_step = time.monotonic(), run.step

    def add_means(self, run: RunState, means: Mapping[str, float]) -> None:
        """Write down the means of the loss and its terms."""
        self.terms = means
        self.report.add(run.step, run.seconds, means)
        if self.report.page_is_old:
            self._write_page(run)

    def validate(self, run: RunState) -> None:
        """Measure the weights of now, and keep them where they are the best so far."""
        assert self.validator is not None
        self.now = self.validator.measure(_method(run.shown))
        scores = self.now.scores
        self.report.add(run.step, run.seconds, {"validation": _known(scores)})
        better = run.best is None or scores.better_than(run.best.scores, self.validator.judge)
        run.judge(scores, better)
        if better:
            references = {name: measured.scores for name, measured in self.references.items()}
            self.write_weights(run.shown, run.step, {**references, "trained": scores})
        self.report.write_preview(f"step {run.step}", self.now, self.references)
        self._write_page(run)

    def progress(self, run: RunState) -> None:
        """Tell the caller of the training."""
        scores = {name: measured.scores for name, measured in self.references.items()}
        if self.now is not None:
            scores["now"] = self.now.scores
        judge = self.validator.judge if self.validator else None
        self.tell(TrainingProgress(run.step, self.recipe.steps, self._seconds_left(run), self.terms, scores, judge))

    def finish(self, run: RunState) -> Trained:
        """Write the checkpoint of the best weights, and say what they are."""
        network, step, judge = run.shown, run.step, None
        scores = {name: measured.scores for name, measured in self.references.items()}
        if self.validator is not None:
            judge = self.validator.judge
            measured = self.validator.measure(_method(network))
            if run.best is not None and not measured.scores.better_than(run.best.scores, judge):
                network, step = _network(self.recipe, run.best.tensors), run.best.step
                measured = self.validator.measure(_method(network))
            scores["trained"] = measured.scores
            self.report.write_preview(f"step {step}", measured, self.references)
        self.write_weights(network, step, scores)
        stale = 0 < self.recipe.validation.patience <= run.stale
        finished = stale or run.step == self.recipe.steps
        if not finished:
            ended = f"Time was up after step {run.step} of {self.recipe.steps}; the same command goes on."
        elif stale:
            ended = f"Stopped after step {run.step} of {self.recipe.steps}: no better for {run.stale} validations."
        else:
            ended = f"Finished after {run.step} steps."
        trained = Trained(self.weights_file, step, finished, ended, judge, scores)
        self.report.write_page(ended, scores, step, trained.verdict)
        return trained

    def write_weights(self, network: TinySR, step: int, scores: Mapping[str, Scores]) -> None:
        """Write the checkpoint: the weights of `step`, and what they reach."""
        tensors = {name: t.detach().float().cpu().contiguous().numpy() for name, t in network.state_dict().items()}
        card = {**self.card, "step": step, "validation": {name: _known(s) for name, s in scores.items()}}
        with self.folder.writing():
            write_checkpoint(self.weights_file, self.recipe.model, tensors, card)

    def _seconds_left(self, run: RunState) -> float:
        elapsed = time.monotonic() - self.begun
        left = elapsed / max(1, run.step - self.first_step) * (self.recipe.steps - run.step)
        return max(0.0, min(left, self.max_seconds - elapsed))

    def _write_page(self, run: RunState) -> None:
        scores = {name: measured.scores for name, measured in self.references.items()}
        if self.now is not None:
            scores["now"] = self.now.scores
        if run.best is not None:
            scores[f"best, step {run.best.step}"] = run.best.scores
        minutes = math.ceil(self._seconds_left(run) / 60)
        status = f"Step {run.step} of {self.recipe.steps}, about {minutes} min left"
        self.report.write_page(status, scores, run.best.step if run.best else None)


def _network(recipe: Recipe, tensors: Mapping[str, Tensor]) -> TinySR:
    network = TinySR(recipe.model)
    network.load_state_dict(dict(tensors))
    return network.to(next(iter(tensors.values())).device)


def _method(network: TinySR) -> Method:
    """In full precision, as shipped weights run."""
    device = next(network.parameters()).device

    @torch.inference_mode()
    def run(lr: Pixels8) -> Pixels8:
        return to_8_bits(network(torch.from_numpy(to_float(lr)).to(device)).float().cpu().numpy())

    return run


def _known(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in vars(scores).items() if value is not None}
