import pytest
import torch
from lightning.fabric import Fabric

from tinysr_core.model.config import ModelConfig
from tinysr_core.model.network import TinySR
from tinysr_core.trainer.run_state import RunState
from tinysr_core.trainer.validation import Scores


def new_run() -> RunState:
    network = TinySR(ModelConfig(channels=16, blocks=1))
    return RunState(network, None, torch.optim.Adam(network.parameters()), ("l1",))


def add(run: RunState, step: int, loss: float) -> None:
    run.add(step, torch.tensor(2 * loss), {"l1": torch.tensor(loss)})


def test_every_improvement_starts_the_count_of_stale_validations_again() -> None:
    run, counts = new_run(), []
    for better in (True, False, False, True, False):
        run.add_validation(Scores(30), better)
        counts.append(run.stale)
    assert counts == [0, 1, 2, 0, 1]


def test_a_restored_run_has_the_means_and_the_best_of_the_saved_one() -> None:
    saved, restored = new_run(), new_run()
    add(saved, 1, 1.0)
    saved.add_validation(Scores(30, 0.1), better=True)
    saved.add_validation(Scores(29, 0.2), better=False)
    restored.restore(saved.state())
    for run in (saved, restored):
        add(run, 2, 3.0)
        assert run.take_means(Fabric()) == pytest.approx({"total": 4, "l1": 2})
        assert (run.step, run.stale) == (2, 1)
        assert run.best is not None and (run.best.step, run.best.scores) == (1, Scores(30, 0.1))
