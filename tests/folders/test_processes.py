import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.engines import RunOptions
from tinysr_core.errors import RequestError
from tinysr_core.folders import Outcome, Settings, plan_jobs, run_job
from tinysr_core.folders.records import RECORD_NAME
from tinysr_core.images import read_picture
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """With the smallest network, which adds nothing to bicubic."""
    config = ModelConfig(2, channels=16, blocks=1, attention=False)
    path = tmp_path_factory.mktemp("network") / "tiny-x2.safetensors"
    write_checkpoint(path, config, {name: np.zeros(shape, np.float32) for name, shape in config.shapes.items()}, {})
    return Settings(model=str(path), network=RunOptions(device="cpu"))


def photos(folder: Path, count: int, side: int = 16) -> Path:
    """Pictures that all differ, in two folders."""
    random = np.random.default_rng(0)
    (folder / "deep").mkdir(parents=True)
    for number in range(count):
        pixels = random.integers(0, 255, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("deep" if number % 3 else ".") / f"{number:03}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD_NAME
    }


def expected(folder: Path, settings: Settings) -> dict[str, bytes]:
    """The results of one undisturbed process."""
    list(run_job(plan_jobs([folder], folder.with_name("right"), settings, recursive=True), settings))
    return contents(folder.with_name("right"))


def test_results_are_those_of_one_process_also_where_workers_are_killed(tmp_path: Path, settings: Settings) -> None:
    folder = photos(tmp_path / "photos", 24)
    (folder / "007.png").write_bytes(b"no picture")
    killed: list[int] = []

    def kill_two(picture: Path, share: float) -> None:
        if len(killed) < 2 and share > 0.3 * (1 + len(killed)):
            killed.append(multiprocessing.active_children()[0].pid or 0)
            os.kill(killed[-1], signal.SIGKILL)

    plan = plan_jobs([folder], tmp_path / "out", settings, recursive=True)
    outcomes = list(run_job(plan, settings, kill_two, workers=2))
    assert len(set(killed)) == 2
    assert [outcome.input.name for outcome in outcomes if outcome.status == "failed"] == ["007.png"]
    assert sorted(outcome.input for outcome in outcomes) == sorted(job.input for job in plan.jobs)
    assert contents(tmp_path / "out") == expected(folder, settings)
    assert not multiprocessing.active_children()


def test_an_error_of_the_job_is_raised_once(tmp_path: Path) -> None:
    settings = Settings(network=RunOptions(device="abacus"))
    plan = plan_jobs([photos(tmp_path / "photos", 4)], None, settings)
    with pytest.raises(RequestError, match="cannot be used here"):
        list(run_job(plan, settings, workers=2))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_program_killed_three_times_resumes(tmp_path: Path, settings: Settings) -> None:
    folder = photos(tmp_path / "photos", 200)
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", folder, "-o", tmp_path / "out", "--recursive"]
    command += ["--model", settings.model, "--workers", "2", "--device", "cpu", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(3):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            news = (line for line in program.stdout if '"done"' in line)
            for _ in range(40):
                next(news)
            program.kill()
    rest = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    outcomes = [Outcome(**json.loads(line)) for line in rest]
    assert len(outcomes) == 200
    skipped = sum(outcome.status == "skipped" for outcome in outcomes)
    assert 120 <= skipped < 200 and all(outcome.status != "failed" for outcome in outcomes)
    assert contents(tmp_path / "out") == expected(folder, settings)


def test_workers_end_with_the_program(tmp_path: Path, settings: Settings) -> None:
    folder = photos(tmp_path / "photos", 4, 600)
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", folder, "--model", settings.model, "--workers", "2"]
    program = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    workers: set[int] = set()
    while len(workers) < 2:
        workers = {int(pid) for pid in Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()}
        time.sleep(0.05)
    program.kill()
    program.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for path in (tmp_path / "photos_x2").glob("*.png"):
        assert read_picture(path).width == 1200
