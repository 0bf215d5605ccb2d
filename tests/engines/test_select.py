"""The choice of the engine, and the fallbacks."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tinysr_core.engines import select, torch_engine
from tinysr_core.engines.select import load_engine
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.errors import RequestError
from tinysr_core.gimp.protocol import PROTOCOL
from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import Checkpoint, read_checkpoint

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO: pip install '.[cpu]'")
Machine = Callable[..., None]
WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ImportError("torch was imported")
sys.meta_path.insert(0, NoTorch())
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A function that sets whether this machine has a GPU and OpenVINO."""

    def has(*, gpu: bool, openvino: bool) -> None:
        monkeypatch.setattr(select, "_gpu_is_there", lambda: gpu)
        monkeypatch.setattr(select, "find_spec", lambda name: object() if openvino else None)

    return has


@pytest.fixture(scope="module")
def network() -> Checkpoint:
    return read_checkpoint(find_checkpoint("portrait", 2))


@pytest.mark.parametrize(
    ("gpu", "openvino", "asked", "expected"),
    [
        (True, True, ("auto", "auto", "auto"), ("GPU", "torch")),
        (True, True, ("auto", "cpu", "auto"), ("CPU", "openvino")),
        (True, True, ("auto", "auto", "int8"), ("CPU", "openvino")),
        (True, True, ("openvino", "auto", "auto"), ("CPU", "openvino")),
        (True, True, ("auto", "auto", "fp16"), ("GPU", "torch")),
        (False, True, ("auto", "auto", "auto"), ("CPU", "openvino")),
        (False, True, ("auto", "auto", "bf16"), ("CPU", "torch")),
        (False, True, ("torch", "auto", "auto"), ("CPU", "torch")),
        (False, True, ("auto", "cuda:1", "auto"), ("GPU", "torch")),
        (False, False, ("auto", "auto", "auto"), ("CPU", "torch")),
        (False, False, ("auto", "cpu", "fp32"), ("CPU", "torch")),
        (True, True, ("auto", "cpu:0", "auto"), ("CPU", "openvino")),
        (False, True, ("auto", "mps", "auto"), ("GPU", "torch")),
        (False, True, ("auto", "xpu:1", "auto"), ("GPU", "torch")),
        (False, True, ("auto", "privateuseone:0", "auto"), ("GPU", "torch")),
    ],
)
def test_the_table(machine: Machine, gpu: bool, openvino: bool, asked: Any, expected: Any) -> None:
    machine(gpu=gpu, openvino=openvino)
    assert select._choose(*asked)[:2] == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("auto", "auto", "auto"), ("cuda:0", "cuda:1")),
        (("auto", "cuda", "fp16"), ("cuda:0", "cuda:1")),
        (("torch", "cuda:1", "auto"), ("cuda:1",)),
        (("auto", "xpu", "auto"), ("xpu:0",)),
        (("auto", "mps", "auto"), ("mps",)),
        (("auto", "privateuseone:0", "auto"), ("privateuseone:0",)),
        (("auto", "cpu", "auto"), ()),
        (("auto", "cpu:0", "auto"), ()),
        (("openvino", "auto", "auto"), ()),
        (("auto", "auto", "int8"), ()),
    ],
)
def test_the_gpus_that_may_be_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, asked: Any, expected: tuple[str, ...]
) -> None:
    machine(gpu=True, openvino=True)
    monkeypatch.setattr(torch_engine, "accelerator", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)
    assert select.usable_gpus(*asked) == expected


def test_a_build_of_torch_for_intels_gpus_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "version", lambda name: "2.9.0+xpu")
    monkeypatch.setattr(sys, "platform", "linux")
    assert select.gpu_is_likely()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("auto", "auto", "fp16"), "fp16 is not possible on the CPU; choose auto, bf16, fp32, int8"),
        (("openvino", "cpu", "bf16"), "bf16 is not possible on the CPU with openvino; choose auto, fp32, int8"),
        (("torch", "auto", "int8"), "int8 is not possible on the CPU with torch; choose auto, bf16, fp32"),
        (("auto", "cuda", "int8"), "int8 is not possible on cuda; choose auto, bf16, fp16, fp32"),
        (("openvino", "cuda", "auto"), "openvino does not run on the device cuda"),
    ],
)
def test_what_cannot_be_is_said(machine: Machine, network: Checkpoint, asked: Any, message: str) -> None:
    machine(gpu=False, openvino=True)
    with pytest.raises(RequestError, match=message):
        load_engine(network, *asked)


def test_without_openvino_torch_runs(
    machine: Machine, network: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(gpu=False, openvino=False)
    monkeypatch.setitem(sys.modules, "tinysr_core.engines.openvino_engine", None)
    assert isinstance(load_engine(network), TorchEngine)
    assert not caplog.messages, "who did not ask for it need not hear of it"
    assert isinstance(load_engine(network, "openvino"), TorchEngine)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith("OpenVINO is not installed")
    with pytest.raises(RequestError, match=r"OpenVINO is not installed .* int8 needs it"):
        load_engine(network, precision="int8")


@needs_openvino
def test_where_openvino_fails_torch_runs(
    machine: Machine, network: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(gpu=False, openvino=True)

    def fail(*_: Any) -> None:
        raise RuntimeError("Cannot load library\nmore about it")

    monkeypatch.setattr("tinysr_core.engines.openvino_engine.calibration", fail)
    engine = load_engine(network)
    assert engine.run(np.zeros((1, 3, 8, 8), np.float32), None).shape == (1, 3, 16, 16)
    (message,) = caplog.messages
    assert message.startswith("OpenVINO failed (Cannot load library)") and "PyTorch" in message
    with pytest.raises(RequestError, match=r"Cannot load library.*int8 needs it"):
        load_engine(network, precision="int8")


def test_a_gpu_is_looked_for_without_torch() -> None:
    code = (
        "import sys; from tinysr_core.engines import select; select.gpu_is_likely(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"HOME": str(home), "USERPROFILE": str(home), "CUDA_VISIBLE_DEVICES": ""}


@needs_openvino
@pytest.mark.skipif(select.gpu_is_likely(), reason="torch runs on the GPU of this machine")
def test_the_command_line_runs_without_torch(tmp_path: Path) -> None:
    Image.effect_noise((60, 40), 50).convert("RGB").save(tmp_path / "photo.png")
    code = WITHOUT_TORCH + "from tinysr_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    options = ["--scale", "1.7", "--sharpen", "--aa", "--clean", "0"]
    command = [sys.executable, "-c", code, "upscale", str(tmp_path / "photo.png"), *options]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "photo_x1.7.png") as result:
        assert result.size == (102, 68)
    assert len(list((tmp_path / ".tinysr" / "cache").glob("int8-*.json"))) == 1


@needs_openvino
@pytest.mark.skipif(select.gpu_is_likely(), reason="torch runs on the GPU of this machine")
def test_the_worker_runs_without_torch(tmp_path: Path) -> None:
    request = {"protocol": PROTOCOL, "type": "upscale", "width": 6, "height": 5, "channels": 3, "result_width": 12}
    request |= {"result_height": 10, "model": "", "factor": 2.0, "sharpen": True, "anti_alias": False, "detail": 1.0}
    code = WITHOUT_TORCH + "from tinysr_core.gimp.worker import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path)
    ) as worker:
        assert worker.stdin and worker.stdout
        worker.stdin.write(json.dumps(request).encode() + b"\n" + bytes(4 * 3 * 6 * 5))
        worker.stdin.flush()  # it stays open, because its end would mean that the client has ended
        answers = [json.loads(worker.stdout.readline())]
        while answers[-1]["type"] in ("hello", "progress"):
            answers.append(json.loads(worker.stdout.readline()))
        worker.kill()
    assert answers[-1] == {"type": "done", "width": 12, "height": 10, "channels": 3, "clipped": False, "networks": []}
