"""Jobs on a real Ray cluster of two nodes on this machine. Without Ray, only the error is tested."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysr_core.engines import RunOptions
from tinysr_core.errors import RequestError, WorkerError
from tinysr_core.folders import Outcome, Settings, plan_jobs, run_job
from tinysr_core.images import read_picture
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[cluster]'")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = ModelConfig(2, channels=16, blocks=4, attention=False)
    path = tmp_path / "network" / "tiny-x2.safetensors"
    path.parent.mkdir()
    write_checkpoint(path, config, {name: np.zeros(shape, np.float32) for name, shape in config.shapes.items()}, {})
    return Settings(model=str(path), network=RunOptions(device="cpu"))


def photos(folder: Path, count: int, side: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head with one core and a second node with two."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    cluster.second = cluster.add_node(num_cpus=2, **memory)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@needs_ray
@pytest.mark.slow
def test_a_node_killed_in_the_middle_loses_nothing(tmp_path: Path, settings: Settings, cluster: Any) -> None:
    folder = photos(tmp_path / "photos", 40, 200)
    (folder / "007.png").write_bytes(b"no picture")
    plan = plan_jobs([folder], tmp_path / "out", settings)
    shares: list[float] = []
    outcomes: list[Outcome] = []
    options = {"workers": None, "cluster": cluster.address}
    for outcome in run_job(plan, settings, lambda picture, share: shares.append(share), **options):
        outcomes.append(outcome)
        if len(outcomes) == 12:
            cluster.remove_node(cluster.second, allow_graceful=False)
    assert Counter(outcome.input for outcome in outcomes) == Counter(job.input for job in plan.jobs)
    assert [outcome.input.name for outcome in outcomes if outcome.status != "done"] == ["007.png"]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    found = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert found == sorted(job.output.name for job in plan.jobs if job.output.name != "007.png")
    alone = plan_jobs([folder], tmp_path / "alone", settings)
    list(run_job(alone, settings))
    for job, other in zip(plan.jobs, alone.jobs, strict=True):
        if job.output.exists():
            assert np.array_equal(read_picture(job.output).pixels, read_picture(other.output).pixels)
    again = list(run_job(plan_jobs([folder], tmp_path / "out", settings), settings, **options))
    assert Counter(outcome.status for outcome in again) == {"skipped": 39, "failed": 1}


@needs_ray
@pytest.mark.slow
def test_an_error_of_the_job_is_raised_once(tmp_path: Path, cluster: Any) -> None:
    plan = plan_jobs([photos(tmp_path / "photos", 2, 20)], None, Settings())
    with pytest.raises(RequestError, match="cannot be used here"):
        list(run_job(plan, Settings(network=RunOptions(device="abacus")), workers=1, cluster=cluster.address))


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_does_not_answer(tmp_path: Path, settings: Settings) -> None:
    plan = plan_jobs([photos(tmp_path / "photos", 2, 20)], None, settings)
    with pytest.raises(WorkerError, match=r"cluster 127\.0\.0\.1:9 does not answer"):
        list(run_job(plan, settings, workers=1, cluster="127.0.0.1:9"))


def test_without_ray_the_error_says_how_to_install_it(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    plan = plan_jobs([photos(tmp_path / "photos", 2, 20)], None, settings)
    with pytest.raises(WorkerError, match=r'pip install "\.\[cluster\]"'):
        list(run_job(plan, settings, workers=1, cluster="auto"))
