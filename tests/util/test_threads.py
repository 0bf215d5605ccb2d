import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tinysr_core.util import threads
from tinysr_core.util.threads import in_order

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("count", ["1", "3"])
def test_results_come_in_order_and_few_wait(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", count)
    taken: list[int] = []

    def numbers():
        for number in range(20):
            taken.append(number)
            yield number

    def slow(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number

    for expected, number in enumerate(in_order(slow, numbers())):
        assert number == expected
        assert len(taken) <= number + 1 + int(count)
    assert len(taken) == 20


def test_several_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    both = threading.Barrier(2, timeout=20)
    assert len(list(in_order(lambda _: both.wait(), range(4)))) == 4


def test_an_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = set(threading.enumerate())  # other tests may have left some
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 // (number - 3), range(100)))
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("ahead", [0, 1])
def test_when_closed_it_leaves_out_the_rest(ahead: int) -> None:
    done: list[int] = []
    go_on = threading.Event()

    def work(number: int) -> None:
        assert number == 0 or go_on.wait(20)
        done.append(number)

    results = in_order(work, range(100), 2, ahead)
    next(results)
    threading.Timer(0.1, go_on.set).start()
    results.close()
    assert len(done) <= 2 + ahead


def test_one_thread_is_that_of_the_caller() -> None:
    assert set(in_order(lambda _: threading.current_thread(), range(3), 1)) == {threading.current_thread()}


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, count in (("1", 1), ("3", 3), ("0", 1), ("1000", threads.MAX_THREADS)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert threads.thread_count() == count
    for nonsense in ("", "2,4"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert threads.thread_count() == min(threads.cores(), threads.MAX_THREADS)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.skipif(threads.cores() == 1, reason="needs a second core")
@pytest.mark.parametrize("module", ["cli.main", "gimp.worker"])
def test_numpy_has_no_threads_of_its_own_beside_them(module: str) -> None:
    code = f"import os, tinysr_core.{module}, numpy as np; a = np.ones((900, 900), np.float32); a @ a;"
    code += "print(len(os.listdir('/proc/self/task')))"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT, env=environment)
    assert run.stdout.split() == [b"1"]


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, [2.0]),
        ("0::/of/the/host\n", {"cpu.max": "400000 100000\n"}, [4.0]),
        (
            "4:memory:/\n3:cpu,cpuacct:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            [0.5],
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("nonsense\n", {}, []),
    ],
)
def test_quotas_of_containers(membership: str, files: dict[str, str], expected: list[float], tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "membership").write_text(membership)
    assert list(threads._cpu_quotas(root, tmp_path / "membership")) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.5, 2), (10_000.0, None)])
def test_cores_are_no_more_than_the_container_is_given(
    quota: float, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(threads, "_cpu_quotas", lambda *_: iter([quota]))
    assert threads.cores() == (expected or 64)
