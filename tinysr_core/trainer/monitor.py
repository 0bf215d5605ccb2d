"""Validates a run, and writes the checkpoint of the best weights."""

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
from .validation import METRIC_NAMES, Measured, Metric, Scores, Validator, comparison


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of training after a step."""

    step: int
    steps: int
    seconds_left: float
    """Estimated time until training ends."""
    terms: Mapping[str, float]
    """Latest means of the loss, as "total", and of its terms; empty before the first row of metrics."""
    scores: Mapping[str, Scores]
    """Latest scores on the validation photographs: of "bicubic", of "base" if there is one, and of "now" after the
    first validation."""
    judge: Metric | None
    """The metric that chooses the weights; None without validation photographs."""


@dataclass(frozen=True)
class Trained:
    """The result of a run."""

    path: Path
    """The checkpoint."""
    step: int
    """The step of its weights."""
    finished: bool
    """False if the time limit stopped the run, which can then be resumed."""
    ended: str
    """Why training ended, in a sentence."""
    judge: Metric | None
    """The metric that chose the weights; None without validation photographs."""
    scores: Mapping[str, Scores]
    """Scores on the validation photographs: of "bicubic", of "base" if there is one of this scale, and of "trained"."""

    @property
    def better_than_base(self) -> bool | None:
        """Whether the trained weights are better than the base by the judge; None if there is no base or no judge."""
        if self.judge is None or "base" not in self.scores:
            return None
        return self.scores["trained"].better_than(self.scores["base"], self.judge)

    @property
    def verdict(self) -> str:
        """One or two sentences on the quality of the weights; empty without validation photographs."""
        if self.judge is None:
            return ""
        figures = comparison(self.scores, "trained")
        if self.better_than_base is False:
            outcome = "changed nothing" if self.scores["trained"] == self.scores.get("base") else "made it worse"
            return f"Fine-tuning {outcome}: {figures}. Keep the base weights."
        return f"The best weights by {METRIC_NAMES[self.judge]} are those of step {self.step}: {figures}."


class Monitor:
    """Validates, writes checkpoints and reports progress, in the first process only.

    Everything that affects the weights is in `RunState`.
    """

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
        self.folder, self.recipe, self.validator, self.on_progress = folder, recipe, validator, report
        title = f"{name} ×{recipe.model.scale}"
        self.report = RunReport(folder, title, recipe.model.scale, validator)
        self.card = {"title": title, **card}
        self.weights_file = folder.path / f"{name}-x{recipe.model.scale}.safetensors"
        self.max_seconds = 60 * max_minutes
        self.references: dict[str, Measured] = {}
        self.scores: Mapping[str, Scores] = {}
        """Of the references, and as "now" of the last validation."""
        self.terms: Mapping[str, float] = {}

    @property
    def interval(self) -> int:
        """Steps between validations; 0 without validation photographs."""
        if self.validator is None:
            return 0
        data = self.recipe.data
        return self.validator.interval(self.recipe.validation, data.batch * data.patch**2)

    def measure_references(self, base: TinySR | None) -> None:
        """Measure bicubic, and `base`, the network that training starts from."""
        if self.validator is not None:
            self.references["bicubic"] = self.validator.measure(interpolation("bicubic", self.recipe.model.scale))
            if base is not None:
                self.references["base"] = self.validator.measure(_method(base))
            self.scores = {name: measured.scores for name, measured in self.references.items()}

    def begin(self, run: RunState) -> None:
        """Start or resume at the step of `run`."""
        self.report.resume(run.step)
        self.started, self.first_step = time.monotonic(), run.step

    def add_means(self, run: RunState, means: Mapping[str, float]) -> None:
        """Add the means of the loss and its terms to the metrics, and update the report page from time to time."""
        self.terms = means
        self.report.add(run.step, run.seconds, means)
        if self.report.page_is_old:
            self._write_page(run)

    def validate(self, run: RunState) -> None:
        """Measure the current weights, and write them if they are the best so far."""
        assert self.validator is not None
        measured = self.validator.measure(_method(run.result))
        scores = measured.scores
        self.report.add(run.step, run.seconds, {"validation": _without_missing(scores)})
        better = run.best is None or scores.better_than(run.best.scores, self.validator.judge)
        run.add_validation(scores, better)
        if better:
            self._write_weights(run.result, run.step, self._with_references(scores))
        self.scores = {**self.scores, "now": scores}
        self.report.write_preview(f"step {run.step}", measured, self.references)
        self._write_page(run)

    def report_progress(self, run: RunState) -> None:
        """Call the caller's callback."""
        judge = self.validator.judge if self.validator else None
        left = self._seconds_left(run)
        self.on_progress(TrainingProgress(run.step, self.recipe.steps, left, self.terms, self.scores, judge))

    def finish(self, run: RunState) -> Trained:
        """Write the checkpoint of the best weights and the last report page."""
        network, step, judge = run.result, run.step, None
        scores: Mapping[str, Scores] = {}
        if self.validator is not None:
            judge = self.validator.judge
            measured = self.validator.measure(_method(network))
            if run.best is not None and not measured.scores.better_than(run.best.scores, judge):
                network, step = _network(self.recipe, run.best.tensors), run.best.step
                measured = self.validator.measure(_method(network))
            scores = self._with_references(measured.scores)
            self.report.write_preview(f"step {step}", measured, self.references)
        self._write_weights(network, step, scores)
        stale = 0 < self.recipe.validation.patience <= run.stale
        finished = stale or run.step == self.recipe.steps
        if not finished:
            ended = f"Time limit reached at step {run.step} of {self.recipe.steps}; run the same command to resume."
        elif stale:
            ended = f"Stopped after step {run.step} of {self.recipe.steps}: no improvement in {run.stale} validations."
        else:
            ended = f"Finished after {run.step} steps."
        trained = Trained(self.weights_file, step, finished, ended, judge, scores)
        self.report.write_page(ended, scores, step, trained.verdict)
        return trained

    def _with_references(self, trained: Scores) -> dict[str, Scores]:
        return {**{name: self.scores[name] for name in self.references}, "trained": trained}

    def _write_weights(self, network: TinySR, step: int, scores: Mapping[str, Scores]) -> None:
        """Write the checkpoint, with the step and the scores in its card."""
        tensors = {name: t.detach().float().cpu().contiguous().numpy() for name, t in network.state_dict().items()}
        card = {**self.card, "step": step, "validation": {name: _without_missing(s) for name, s in scores.items()}}
        with self.folder.writing():
            write_checkpoint(self.weights_file, self.recipe.model, tensors, card)

    def _seconds_left(self, run: RunState) -> float:
        elapsed = time.monotonic() - self.started
        left = elapsed / max(1, run.step - self.first_step) * (self.recipe.steps - run.step)
        return max(0.0, min(left, self.max_seconds - elapsed))

    def _write_page(self, run: RunState) -> None:
        best = {} if run.best is None else {f"best, step {run.best.step}": run.best.scores}
        minutes = math.ceil(self._seconds_left(run) / 60)
        status = f"Step {run.step} of {self.recipe.steps}, about {minutes} min left"
        self.report.write_page(status, {**self.scores, **best}, run.best.step if run.best else None)


def _network(recipe: Recipe, tensors: Mapping[str, Tensor]) -> TinySR:
    """The network of `recipe` with these weights, on their device."""
    network = TinySR(recipe.model)
    network.load_state_dict(dict(tensors))
    return network.to(next(iter(tensors.values())).device)


def _method(network: TinySR) -> Method:
    """`network` as a method to measure, in fp32."""
    device = next(network.parameters()).device

    @torch.inference_mode()
    def run(lr: Pixels8) -> Pixels8:
        return to_8_bits(network(torch.from_numpy(to_float(lr)).to(device)).float().cpu().numpy())

    return run


def _without_missing(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in vars(scores).items() if value is not None}
