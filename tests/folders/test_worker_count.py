"""How many workers a machine gets, and which GPU each worker."""

import pytest
import torch

from tinysr_core.engines import RunOptions
from tinysr_core.folders import processes
from tinysr_core.folders.settings import Settings

GB = 10**9


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 cores and plenty of memory."""
    monkeypatch.setattr(processes, "cores", lambda: 64)
    monkeypatch.setattr(processes, "available_bytes", lambda: 256 * GB)


@pytest.mark.parametrize(
    ("gpus", "free", "expected"),
    [
        ([], 0, 64),
        (["cuda:0"], 80 * GB, processes.WORKERS_PER_GPU),
        (["cuda:0"], GB // 2, 1),
        (["cuda:0", "cuda:1"], 80 * GB, 2 * processes.WORKERS_PER_GPU),
        (["mps"], 0, 1),
        (["privateuseone:0"], 0, 1),
    ],
)
def test_a_gpu_never_gets_a_worker_for_each_core(
    gpus: list[str], free: int, expected: int, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free, 80 * GB))
    assert processes._useful_workers(gpus) == expected


def test_windows_has_no_more_than_it_can_wait_for(large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_WORKERS", 60)
    assert processes._useful_workers([]) == 60
    assert processes.ProcessPool(Settings(), 100, 200).size == 60


def test_workers_share_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_gpus", lambda *_: ("cuda:0", "cuda:1"))
    settings = Settings(network=RunOptions(precision="fp16"))
    given = [processes._own_gpu(settings, number)[0].network for number in range(3)]
    assert [run.device for run in given] == ["cuda:0", "cuda:1", "cuda:0"]
    assert {run.precision for run in given} == {"fp16"}
    monkeypatch.setattr(processes, "usable_gpus", lambda *_: ())
    assert processes._own_gpu(settings, 0) == (settings, ())
