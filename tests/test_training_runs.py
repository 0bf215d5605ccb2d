"""Training in other processes: several that torchrun starts, and some that are killed."""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysr_core.model.checkpoint import read_checkpoint

REPORT_EVERY = 5

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
from tinysr_core.model.config import ModelConfig
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.errors import TrainingError
from tinysr_core.loss import LossConfig
from tinysr_core.trainer.recipe import OptimizerConfig, Recipe
from tinysr_core.trainer import train
from tinysr_core.trainer.validation import ValidationConfig


def main():
    torch.set_num_threads(1)
    settings = {"batch": 4, "steps": 30, **json.loads(sys.argv[2])}
    recipe = Recipe(
        model=ModelConfig(channels=16, blocks=2),
        data=DataConfig(patch=12, batch=settings.pop("batch")),
        loss=LossConfig(vgg=0, edge=0.2, lab=0.01, l1=1),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup=5, ema=0.9),
        validation=ValidationConfig(every=10),
        steps=settings.pop("steps"),
    )
    run = Path(sys.argv[1])
    photos = sorted(run.parent.glob("*.png"))
    try:
        trained = train(recipe, photos[1:], run, validation=photos[:1], report_every=int(sys.argv[3]), **settings)
    except TrainingError as error:
        sys.exit(str(error))
    print(f"{trained.step} {trained.finished}\\n", end="")  # one write, because two processes print


if __name__ == "__main__":  # data workers import this script, except on Linux before Python 3.14
    main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    (folder / "run.py").write_text(SCRIPT)
    return folder


def command(run: Path, processes: int = 1, **settings: float) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    settings = {"devices": processes, **settings}
    return [sys.executable, *launcher, str(run.parent / "run.py"), str(run), json.dumps(settings), str(REPORT_EVERY)]


def train(run: Path, processes: int = 1, **settings: float) -> str:
    """Train in other processes; returns what they print, on both streams."""
    done = subprocess.run(command(run, processes, **settings), capture_output=True, text=True, check=False, timeout=300)
    return done.stdout + done.stderr


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "minutes": 0} for line in lines]


def steps_seen(run: Path) -> int:
    """The step of the last complete row of a run that is going on."""
    metrics = run / "metrics.jsonl"
    return REPORT_EVERY * metrics.read_text().count('"total"') if metrics.is_file() else 0


def same_run(one: Path, two: Path) -> None:
    """The curves and the weights of two runs agree to the tolerance of float32 sums in another order."""
    assert [row.keys() for row in rows(one)] == [row.keys() for row in rows(two)]
    for a, b in zip(rows(one), rows(two), strict=True):
        a, b = (row | row.pop("validation", {}) for row in (a, b))
        assert b == pytest.approx(a, rel=1e-4)
    first, second = (read_checkpoint(run / "model-x2.safetensors").tensors for run in (one, two))
    for name, tensor in first.items():
        np.testing.assert_allclose(second[name], tensor, atol=1e-4)


@pytest.fixture(scope="module")
def one(folder: Path) -> Path:
    """A run in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", str(folder / "one"), "{}", str(REPORT_EVERY)])
        runpy.run_path(str(folder / "run.py"), run_name="__main__")
    return folder / "one"


def test_two_processes_train_as_one_does_with_the_same_batch(folder: Path, one: Path) -> None:
    output = train(folder / "two", 2)
    assert output.count(" True\n") == 2, output
    same_run(one, folder / "two")


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(folder: Path, one: Path) -> None:
    run = folder / "changing"
    assert train(run, 2, max_minutes=0).count("10 False") == 2
    output = train(run, 1)
    assert " True\n" in output, output
    same_run(one, run)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(folder: Path) -> None:
    output = train(folder / "odd", 2, batch=5)
    assert "A batch of 5 cannot be divided among 2 processes" in output


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_run_killed_ten_times_reaches_the_same_weights(folder: Path) -> None:
    """Bit for bit, with the best weights and every measurement."""
    settings = {"steps": 600, "save_seconds": 0.1}
    output = train(folder / "whole", **settings)
    assert " True\n" in output, output
    moments = random.Random(0)
    run = folder / "killed"
    for kill in range(10):
        process = subprocess.Popen(command(run, **settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = 50 * kill + moments.randrange(50)  # a little further than before
        while process.poll() is None and steps_seen(run) < wanted:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        assert process.poll() is None, "done before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert train(run, **settings).split() == output.split()
    name = "model-x2.safetensors"
    assert (run / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert rows(run) == rows(folder / "whole")
    assert not list(run.glob(".*.partial*"))
