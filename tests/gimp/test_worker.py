import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinysr_core.engines import load_upscaler
from tinysr_core.errors import RequestError
from tinysr_core.gimp.install import worker_commands
from tinysr_core.gimp.protocol import ProtocolError, Request, parse_request
from tinysr_core.gimp.worker import MAX_LINE, Answer, Enlarger, Planes, serve
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.pipeline import enhance
from tinysr_core.postprocess import ExactSize, Finish
from tinysr_core.util import Progress

REQUEST: dict[str, Any] = {
    "protocol": 3,
    "type": "upscale",
    "width": 5,
    "height": 4,
    "channels": 3,
    "result_width": 10,
    "result_height": 8,
    "model": "portrait",
    "factor": 2.0,
    "sharpen": False,
    "anti_alias": False,
}


def frame(request: dict[str, Any], pixels: NDArray[np.float32] | None = None) -> bytes:
    if pixels is None:
        pixels = np.full((request["height"], request["width"], request["channels"]), 0.5, np.float32)
    return json.dumps(request).encode() + b"\n" + pixels.tobytes()


def repeat(request: Request, planes: Planes, progress: Progress) -> Answer:
    """Stands for the network: nearest neighbour."""
    progress(1, 2)
    rows = np.arange(request.result_height) * request.height // request.result_height
    columns = np.arange(request.result_width) * request.width // request.result_width
    return Answer([planes[:, :, rows][:, :, :, columns]])


def answers(data: bytes) -> Iterator[dict[str, Any]]:
    """The messages in `data`; pixels under the key "array"."""
    stream = io.BytesIO(data)
    while line := stream.readline():
        message = json.loads(line)
        if message["type"] == "done":
            shape = message["height"], message["width"], message["channels"]
            raw = stream.read(4 * int(np.prod(shape)))
            message["array"] = np.frombuffer(raw, np.float32).reshape(shape)
        yield message


def talk(data: bytes, compute: Any = repeat) -> tuple[int, list[dict[str, Any]]]:
    sink = io.BytesIO()
    status = serve(io.BytesIO(data), sink, compute, client_gone=lambda: None)
    return status, list(answers(sink.getvalue()))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_requests_are_answered_one_after_the_other(channels: int) -> None:
    request = REQUEST | {"channels": channels}
    pixels = np.random.default_rng(1).random((4, 5, channels), np.float32)
    status, messages = talk(frame(request, pixels) + frame(request | {"result_width": 15}, pixels))
    assert status == 0
    assert [message["type"] for message in messages] == ["progress", "done"] * 2
    np.testing.assert_array_equal(messages[1]["array"], np.repeat(np.repeat(pixels, 2, 0), 2, 1))
    assert messages[3]["array"].shape == (8, 15, channels)


def test_a_resize_request_needs_no_model() -> None:
    resize = {key: REQUEST[key] for key in ("protocol", "width", "height", "channels", "result_width", "result_height")}
    request = parse_request(json.dumps(resize | {"type": "resize"}).encode())
    assert request.network is None
    assert request.size == (8, 10)


def test_colours_that_cannot_be_shown_are_cut_and_told() -> None:
    pixels = np.array([[[np.nan, 0.5, 7], [-3, np.inf, 0.25]]], np.float32)
    request = REQUEST | {"width": 2, "height": 1, "result_width": 2, "result_height": 1}
    _, messages = talk(frame(request, pixels))
    assert messages[-1]["clipped"]
    np.testing.assert_array_equal(messages[-1]["array"], [[[0, 0.5, 1], [0, 1, 0.25]]])


def test_rounding_errors_are_cut_in_silence() -> None:
    pixels = np.full((4, 5, 3), 1.00001, np.float32)
    _, messages = talk(frame(REQUEST, pixels))
    assert not messages[-1]["clipped"]
    assert messages[-1]["array"].max() == 1


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (RequestError("Ask for less."), "RequestError", "Ask for less."),
        (MemoryError(), "MemoryLimitError", "close other programs"),
        (ZeroDivisionError("oh"), "ZeroDivisionError", "ZeroDivisionError: oh"),
    ],
)
def test_after_an_error_of_one_request_the_next_is_answered(error: Exception, kind: str, detail: str) -> None:
    def fail_once(request: Request, planes: Planes, progress: Progress) -> Answer:
        if request.finish.sharpen:
            raise error
        return repeat(request, planes, progress)

    status, messages = talk(frame(REQUEST | {"sharpen": True}) + frame(REQUEST), fail_once)
    assert status == 0
    assert [message["type"] for message in messages] == ["error", "progress", "done"]
    assert messages[0]["kind"] == kind
    assert detail in messages[0]["detail"]


def test_a_missing_package_ends_the_conversation() -> None:
    def fail(*_: object) -> Answer:
        raise ModuleNotFoundError("No module named 'torch'")

    status, messages = talk(frame(REQUEST) + frame(REQUEST), fail)
    assert status == 1
    assert [(message["type"], message["kind"]) for message in messages] == [("error", "ImportError")]


def test_masks_are_multiplied_and_enlarged() -> None:
    coverages = np.random.default_rng(4).random((4, 5, 2), np.float32)
    coverages[:2] = 1
    request = REQUEST | {"type": "mask", "channels": 2, "model": "fidelity"}
    _, (*_, same) = talk(frame(request | {"result_width": 5, "result_height": 4}, coverages), Enlarger())
    np.testing.assert_array_equal(same["array"][:, :, 0], coverages[:, :, 0] * coverages[:, :, 1])
    _, (*_, enlarged) = talk(frame(request, np.ones((4, 5, 2), np.float32)), Enlarger())
    np.testing.assert_array_equal(enlarged["array"], np.ones((8, 10, 1), np.float32))


@pytest.mark.parametrize(("width", "height", "networks"), [(40, 32, []), (30, 24, [4, 2]), (22, 19, [4])])
def test_the_networks_beyond_the_largest_scale_are_named(width: int, height: int, networks: list[int]) -> None:
    size = {"result_width": width, "result_height": height, "factor": width / 5}
    _, messages = talk(frame(REQUEST | size), Enlarger())
    assert messages[-1]["networks"] == networks
    assert messages[-1]["array"].shape == (height, width, 3)


BAD_REQUESTS = {
    "not JSON": b"\x89PNG\n",
    "not an object": b"[1, 2]\n",
    "too deep": b"[" * 5000 + b"\n",
    "cut off": json.dumps(REQUEST).encode(),
    "too long": b" " * (MAX_LINE + 1) + frame(REQUEST),
    "too few pixels": frame(REQUEST)[:-1],
    "more pixels than memory": frame(REQUEST | {"width": 524288, "height": 524288}, np.zeros(3, np.float32)),
    "a field too many": frame(REQUEST | {"colour": "red"}),
    **{f"no {name}": json.dumps({k: v for k, v in REQUEST.items() if k != name}).encode() + b"\n" for name in REQUEST},
    **{
        f"{name} = {value!r}": json.dumps(REQUEST | {name: value}).encode() + b"\n"
        for name, values in {
            "protocol": [0, 1, 2, "3", None],
            "type": ["", "train", 1],
            "width": [0, -1, 2.0, True, "5", 10**30, None],
            "result_height": [0, 524289],
            "channels": [0, 5],
            "factor": [0, -1, float("nan"), float("inf"), True, "2", 10**400],
            "model": [None, 3],
            "sharpen": [1, "yes", None],
            "detail": [-0.1, 1.01, float("nan"), True, "1", None],
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_malformed_requests_get_an_error_line(data: bytes) -> None:
    status, messages = talk(data)
    assert status == 1
    assert [message["type"] for message in messages] == ["error"]
    assert messages[0]["detail"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Well-formed requests with some fields, bytes or their ends damaged; or anything at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    small = st.integers(1, 9)
    sizes = {name: draw(small) for name in ("width", "height", "result_width", "result_height")}
    request = REQUEST | sizes | {"channels": draw(st.integers(1, 4))}
    data = frame(request)
    if draw(st.booleans()):
        damaged = draw(st.dictionaries(st.sampled_from([*REQUEST, "detail", "extra"]), json_values, max_size=2))
        data = json.dumps(request | damaged).encode() + data[data.index(b"\n") :]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=4)) + data[place + draw(st.integers(0, 4)) :]
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    return data * draw(st.integers(1, 2))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations())
def test_any_bytes_end_in_an_answer(data: bytes) -> None:
    status, messages = talk(data)
    kinds = [message["type"] for message in messages]
    if status == 0:
        assert kinds == ["progress", "done"] * (len(kinds) // 2)
    else:
        assert status == 1
        assert kinds[-1] == "error"
        assert "error" not in kinds[:-1]
        assert messages[-1]["kind"] in (ProtocolError.__name__, "MemoryLimitError")
    for done in (message for message in messages if message["type"] == "done"):
        assert np.isfinite(done["array"]).all()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with two models, one small, one slow."""
    home = tmp_path_factory.mktemp("home")
    models = home / ".tinysr" / "models"
    models.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, config in (("small", ModelConfig(channels=16, blocks=2)), ("slow", ModelConfig(channels=64, blocks=20))):
        tensors = {k: random.standard_normal(v, np.float32) / 20 for k, v in config.shapes.items()}
        write_checkpoint(models / f"tinysr-{name}-x2.safetensors", config, tensors, {"title": name})
    (models / "broken-x2.safetensors").write_bytes(b"no checkpoint")
    return home


@pytest.fixture
def process(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker, started as the plug-in starts it."""
    environment = os.environ | {"HOME": str(home), "USERPROFILE": str(home), "OMP_NUM_THREADS": "2"}
    command = worker_commands(sys.executable)[1]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        yield process
        process.kill()


def hear(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    message = json.loads(process.stdout.readline())
    if message["type"] == "done":
        shape = message["height"], message["width"], message["channels"]
        message["array"] = np.frombuffer(process.stdout.read(4 * int(np.prod(shape))), np.float32).reshape(shape)
    return message


def send(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def test_the_worker_computes_what_the_core_computes(process: subprocess.Popen[bytes], home: Path) -> None:
    hello = hear(process)
    assert hello["protocol"] == 3
    assert Path(hello["location"]).samefile(Path(__file__).parents[2] / "tinysr_core")
    assert {"name": "small", "scales": [2], "description": "", "has_detail": False, "has_clean": False} in hello[
        "models"
    ]
    assert hello["damaged"] == ["broken-x2.safetensors"]
    pixels = np.random.default_rng(2).random((9, 7, 4), np.float32)
    pixels[:3, :, 3] = 0
    request = REQUEST | {"width": 7, "height": 9, "channels": 4, "model": "small", "sharpen": True}
    send(process, frame(request | {"result_width": 14, "result_height": 18}, pixels))
    while (message := hear(process))["type"] == "progress":
        assert 0 <= message["done"] <= message["total"]
    planes = pixels.transpose(2, 0, 1)[None]
    upscaler = load_upscaler(home / ".tinysr" / "models" / "tinysr-small-x2.safetensors")
    colour, alpha = enhance(upscaler, planes[:, :3], planes[:, 3:], Finish(ExactSize(14, 18), sharpen=True))
    assert alpha is not None
    expected = np.concatenate([colour, alpha], 1)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(message["array"], expected, atol=1e-6)


def test_a_result_of_the_same_size_has_been_through_the_network(process: subprocess.Popen[bytes]) -> None:
    hear(process)
    pixels = np.random.default_rng(3).random((8, 8, 3), np.float32)
    sizes = dict.fromkeys(("width", "height", "result_width", "result_height"), 8)
    send(process, frame(REQUEST | sizes | {"model": "small"}, pixels))
    while (message := hear(process))["type"] == "progress":
        pass
    assert message["array"].shape == (8, 8, 3)
    assert np.abs(message["array"] - pixels).max() > 0.01


def test_the_worker_names_the_models_there_are(process: subprocess.Popen[bytes]) -> None:
    hear(process)
    send(process, frame(REQUEST | {"model": "nobody"}))
    error = hear(process)
    assert (error["type"], error["kind"]) == ("error", "CheckpointError")
    assert "small" in error["detail"]
    send(process, frame(REQUEST | {"model": "small"}))
    assert hear(process)["type"] in ("progress", "done")


def test_the_worker_ends_with_an_error_on_nonsense(process: subprocess.Popen[bytes]) -> None:
    hear(process)
    send(process, b"GET / HTTP/1.1\r\n")
    assert hear(process)["kind"] == "ProtocolError"
    assert process.wait(10) == 1


def test_the_worker_ends_when_nobody_asks(process: subprocess.Popen[bytes]) -> None:
    hear(process)
    output, _ = process.communicate(timeout=30)
    assert output == b""
    assert process.returncode == 0


def test_the_worker_dies_with_its_client_in_the_middle_of_a_computation(process: subprocess.Popen[bytes]) -> None:
    hear(process)
    size = {"width": 600, "height": 600, "result_width": 1200, "result_height": 1200}
    send(process, frame(REQUEST | size | {"model": "slow"}))
    assert hear(process)["type"] == "progress"
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()  # what the system does when the client is killed
    assert b'"done"' not in process.stdout.read()
    process.wait(10)


def test_what_libraries_print_does_not_reach_the_client(home: Path, tmp_path: Path) -> None:
    noisy = (
        "import runpy, sys, os, safetensors, numpy\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "import tinysr_core.gimp.worker as worker\n"
        "class Loud(worker.Enlarger):\n"
        "    def __call__(self, *arguments):\n"
        "        print('hello from a library'); os.write(1, b'and from C')\n"
        "        return super().__call__(*arguments)\n"
        "worker.Enlarger = Loud\n"
        "raise SystemExit(worker.main())\n"
    )
    command = [sys.executable, "-I", "-c", noisy, str(Path(__file__).parents[2])]
    environment = os.environ | {"HOME": str(home), "USERPROFILE": str(home)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        hear(process)
        send(process, frame(REQUEST | {"model": "small"}))
        while (message := hear(process))["type"] == "progress":
            pass
        assert message["array"].shape == (8, 10, 3)
        output, errors = process.communicate(timeout=30)
    assert output == b""
    assert b"hello from a library" in errors
    assert b"and from C" in errors
