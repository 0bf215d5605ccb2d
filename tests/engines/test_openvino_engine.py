"""The OpenVINO engine compared with torch, int8, and saved calibrations."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("openvino", reason="needs OpenVINO: pip install '.[cpu]'")

from tinysr_core.engines import openvino_engine, openvino_runtime
from tinysr_core.engines import openvino_int8 as int8
from tinysr_core.engines.int8 import STEPS, largest_weights, steps_of
from tinysr_core.engines.openvino_engine import OpenVinoEngine
from tinysr_core.engines.openvino_graph import Graphs
from tinysr_core.engines.openvino_runtime import Compiled, openvino
from tinysr_core.engines.tiling import Span, Window
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint
from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.util import cores

from .networks import random_checkpoint

SMALL = ModelConfig(channels=16, blocks=2)


def checkpoint(sha256: str = "") -> Checkpoint:
    return random_checkpoint(SMALL, sha256)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("attention", [True, False])
def test_fp32_is_torchs_fp32(scale: int, attention: bool) -> None:
    """Also on CPUs with bf16, which OpenVINO would use by default."""
    network = random_checkpoint(dataclasses.replace(PRESETS["tiny"], scale=scale, attention=attention))
    ours, torchs = OpenVinoEngine(network, "fp32"), TorchEngine.from_checkpoint(network, "cpu", "fp32")
    gate = np.linspace(0, 1, network.config.channels, dtype=np.float32) if attention else None
    for height, width in [(1, 1), (1, 9), (23, 40)]:
        image = picture(height, width)
        given = None if gate is None else torch.from_numpy(gate)[None]
        np.testing.assert_allclose(ours.run(image, gate), torchs.run(image, given), atol=1e-5)
        np.testing.assert_allclose(ours.run(image), torchs.run(image, None), atol=1e-5)
    if attention:
        cores = [Window(Span(2, 12), Span(5, 25)), Window(Span(13, 23), Span(9, 39))]
        ours_gate = ours.gate(image, cores)
        np.testing.assert_allclose(ours_gate, torchs.gate(image, cores)[0], atol=1e-6)
        assert ours_gate.dtype == np.float32


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tiled_equals_whole(precision: Any) -> None:
    engine = OpenVinoEngine(read_checkpoint(find_checkpoint("portrait", 2)), precision)
    image = picture(150, 170)
    whole = Upscaler(engine).upscale(image)
    for tile in (48, 97):
        np.testing.assert_allclose(Upscaler(engine, tile).upscale(image), whole, atol=1e-5)


def test_tensors_come_back_as_tensors() -> None:
    engine = OpenVinoEngine(checkpoint(), "fp32")
    image = torch.from_numpy(picture(40, 50))
    result = Upscaler(engine).upscale(image)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), Upscaler(engine).upscale(image.numpy()))


def test_tensors_of_inference_mode_are_upscaled_in_tiles() -> None:
    """ComfyUI runs nodes in inference mode, which the threads of the tiles are not in."""
    engine = OpenVinoEngine(checkpoint(), "fp32")
    with torch.inference_mode():
        image = torch.from_numpy(picture(140, 50)).clone()
        result = Upscaler(engine, 48).upscale(image)
    np.testing.assert_allclose(result.numpy(), Upscaler(engine).upscale(image.numpy()), atol=1e-5)


def test_results_have_memory_of_their_own() -> None:
    engine = OpenVinoEngine(checkpoint(), "fp32")
    first = engine.run(picture(20, 20))
    kept = first.copy()
    engine.run(1 - picture(20, 20))
    np.testing.assert_array_equal(first, kept)


def test_int8_runs_in_integers() -> None:
    network = checkpoint()
    ranges = int8.calibrate(network).ranges
    compiled = openvino.Core().compile_model(Graphs(network, ranges).upscale(own_gate=True), "CPU")
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(node["layerType"].astype(str), node["runtimePrecision"].astype(str)) for node in nodes]
    convs = [precision for kind, precision in kinds if kind == "Convolution"]
    assert len(convs) == SMALL.blocks + 3  # and the skip
    assert sum(precision in ("i8", "u8") for precision in convs) == SMALL.blocks, "the trunk"


def test_kernels_are_rounded_to_steps_and_keep_their_sum() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
    weight[0] = 0
    steps = steps_of(weight)
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert np.abs(steps).max() == STEPS
    off = steps - weight / largest_weights(weight) * STEPS
    assert np.abs(off).max() < 1 and np.abs(off.sum((2, 3))).max() < 0.5 + 1e-4


@pytest.mark.parametrize("name", ["portrait", "photo"])
def test_auto_takes_int8_where_it_is_close(name: str) -> None:
    assert OpenVinoEngine(read_checkpoint(find_checkpoint(name, 2))).precision == "int8"


def test_int8_is_exact_without_vnni() -> None:
    """Kernels without VNNI add pairs of products in 16 bits, and saturate."""
    assert 2 * STEPS * (255 / int8.MARGIN) < 2**15


def test_int8_of_a_layer_that_is_always_zero() -> None:
    network = checkpoint()
    network.tensors["trunk.0.bias"][:] = -1000.0
    image = picture(12, 20)
    fp32, quantized = (OpenVinoEngine(network, precision).run(image) for precision in ("fp32", "int8"))
    np.testing.assert_allclose(quantized, fp32, atol=0.02)
    assert min(int8.calibrate(network).ranges) > 0, "a saved calibration with an empty range is not read again"


def test_auto_stays_at_fp32_where_int8_is_not_close() -> None:
    network = checkpoint()
    network.tensors["head.bias"][0] = 5000.0  # no step between integers is small enough for the other channels
    for name in ("trunk.0.weight", "tail.weight"):
        network.tensors[name][:, 0] = 0
    assert OpenVinoEngine(network).precision == "fp32"
    assert OpenVinoEngine(network, "int8").precision == "int8", "who asks for it gets it"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one file in a cache."""
    monkeypatch.setattr(int8, "calibrate", lambda checkpoint: int8.Calibration([1.0, 2.0], 60.5))
    int8.calibration(checkpoint(sha256="a"), tmp_path)
    (file,) = tmp_path.iterdir()
    return file


def test_what_was_measured_is_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = int8.calibrate(checkpoint())
    monkeypatch.setattr(int8, "calibrate", lambda checkpoint: pytest.fail("measured again"))
    assert int8.calibration(checkpoint(sha256="a"), kept.parent) == again


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"ranges": [1.0], "psnr": 60.0}',
        '{"ranges": [1.0, NaN], "psnr": 60.0}',
        '{"ranges": [1.0, 0.0], "psnr": 60.0}',
        '{"ranges": [1.0, "1"], "psnr": 60.0}',
        '{"ranges": [1.0, 1.0], "psnr": NaN}',
        '{"ranges": [1.0, 1.0], "psnr": "60"}',
        '{"ranges": [1.0, 1.0], "psnr": 60.0, "more": 1}',
        "\udcff",
    ],
)
def test_a_damaged_file_is_made_again(kept: Path, text: str) -> None:
    good = kept.read_text()
    kept.write_bytes(text.encode(errors="surrogateescape"))
    int8.calibration(checkpoint(sha256="a"), kept.parent)
    assert kept.read_text() == good


def test_other_networks_and_versions_have_other_files(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    int8.calibration(checkpoint(sha256="b"), kept.parent)
    monkeypatch.setattr(openvino, "__version__", "2031.1")
    int8.calibration(checkpoint(sha256="a"), kept.parent)
    assert len(list(kept.parent.iterdir())) == 3


def test_many_may_write_the_same_file_at_once(tmp_path: Path) -> None:
    network = checkpoint(sha256="a")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: int8.calibration(network, tmp_path), range(4)))
    assert all(result == results[0] for result in results)
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == dataclasses.asdict(results[0])


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(int8.calibration(checkpoint(sha256="a"), tmp_path / "cache").ranges) == SMALL.blocks


def test_running_out_of_memory_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def infer(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("Exception from src/inference: std::bad_alloc")

    compiled = Compiled(Graphs(checkpoint()).upscale(own_gate=True))
    free: SimpleQueue[Any] = SimpleQueue()
    free.put(Full())
    monkeypatch.setattr(compiled, "_free", free)
    with pytest.raises(MemoryError):
        compiled(picture(8, 8))


def test_nothing_is_reported_to_anybody() -> None:
    """OpenVINO's conversion tools send telemetry when they are imported. Other code can still import them."""
    code = """
import sys
import tinysr_core.engines.openvino_engine
assert not {name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools")}
import importlib.util
assert importlib.util.find_spec("openvino.tools.ovc")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the signal stack as Linux has it")
def test_the_signal_stack_is_left_alone() -> None:
    """OpenVINO sets a signal stack and frees it; Python's signal handlers would then crash."""
    code = (
        "import ctypes, numpy\n"
        "from tinysr_core import load_upscaler\n"
        "from tinysr_core.engines.openvino_runtime import _SignalStack\n"
        "def stack():\n"
        "    now = _SignalStack()\n"
        "    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now))\n"
        "    return now.address, now.flags, now.size\n"
        "before = stack()\n"
        "upscaler = load_upscaler('portrait', scale=2, device='cpu', engine='openvino', precision='fp32')\n"
        "upscaler.upscale(numpy.zeros((1, 3, 8, 8), numpy.float32))\n"
        "print(stack() == before)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "True\n"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_one_engine_in_many_threads(precision: Any) -> None:
    """Also if several threads are the first to need a graph."""
    small, large = picture(40, 60), picture(100, 530)
    images = 4 * [small, large]
    alone = Upscaler(OpenVinoEngine(checkpoint(), precision), 200)
    expected = [alone.upscale(image) for image in (small, large)]
    shared = Upscaler(OpenVinoEngine(checkpoint(), precision), 200)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(shared.upscale, images))
    for result, right in zip(results, 4 * expected, strict=True):
        np.testing.assert_array_equal(result, right)


def test_two_tiles_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress callback that cancels leaves out the tiles that have not begun."""
    monkeypatch.setattr(openvino_engine, "thread_count", lambda: 2)
    engine = OpenVinoEngine(checkpoint(), "fp32")
    both, count = threading.Barrier(2, timeout=20), itertools.count()
    monkeypatch.setattr(
        engine, "_given_gate", lambda image, gate: (both.wait(), next(count), image.repeat(2, 2).repeat(2, 3))[2]
    )
    image = picture(100, 170)
    np.testing.assert_array_equal(Upscaler(engine, 60).upscale(image), image.repeat(2, 2).repeat(2, 3))
    assert next(count) == 6

    def cancel(done: int, total: int) -> None:
        if done == 1:
            both.abort()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Upscaler(engine, 34).upscale(image, cancel)
    assert next(count) <= 6 + 5


def test_one_core_runs_one_tile_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "thread_count", lambda: 1)
    assert OpenVinoEngine(checkpoint(), "fp32").parallel == 1


def test_other_packs_find_openvino_whole() -> None:
    """Its conversion tools, which are not imported here, are imported on first use."""
    code = """
import sys
import tinysr_core.engines.openvino_runtime
assert "openvino.tools.ovc" not in sys.modules
import openvino
assert not hasattr(openvino, "nonsense")
from openvino import convert_model
assert convert_model is openvino.convert_model is openvino.tools.ovc.convert_model
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the cores of threads from /proc")
@pytest.mark.skipif(cores() == 1, reason="needs a second core")
def test_threads_of_workers_may_use_all_cores() -> None:
    """Otherwise, OpenVINO pins its threads to the first cores, in each of several workers."""
    code = """
import os
from pathlib import Path
import numpy as np
from tinysr_core import load_upscaler
load_upscaler("portrait", clean=0).upscale(np.zeros((1, 3, 40, 40), np.float32))
print({len(os.sched_getaffinity(int(thread.name))) for thread in Path("/proc/self/task").iterdir()})
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert run.stdout == f"{{{len(os.sched_getaffinity(0))}}}\n"


@pytest.mark.parametrize(("asked", "cores", "expected"), [("3", 2, "3"), ("", 2, "2"), ("2,4", 2, "2"), ("", 64, None)])
def test_threads_of_openvino(asked: str, cores: int, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They respect the limit of a container."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(openvino_runtime, "cores", lambda: cores)
    monkeypatch.setattr(openvino_runtime.os, "cpu_count", lambda: 64)
    assert openvino_runtime._threads() == expected
