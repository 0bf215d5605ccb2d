import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

from tinysr_core.errors import CheckpointError
from tinysr_core.model.checkpoint import read_checkpoint, read_info, write_checkpoint
from tinysr_core.model.config import ModelConfig

CONFIG = ModelConfig(scale=3, channels=16, blocks=2)
CARD = {"title": "A test", "license": "MIT", "figures": {"psnr": 30.5}}


def random_tensors(config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in config.shapes.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    write_checkpoint(path, CONFIG, random_tensors(), CARD)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    assert (checkpoint.config, checkpoint.card) == (CONFIG, CARD)
    for name, tensor in random_tensors().items():
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor)


def test_the_same_network_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    write_checkpoint(again, CONFIG, random_tensors(), CARD)
    assert again.read_bytes() == path.read_bytes()


def test_the_header_is_readable_to_model_browsers(path: Path) -> None:
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
    assert header["modelspec.title"] == "A test"
    assert json.loads(header["config"])["scale"] == 3


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.astype(np.float16) for name, tensor in random_tensors().items()}, path)
    assert all(tensor.dtype == np.float32 for tensor in read_checkpoint(path).tensors.values())


def test_a_file_without_header_is_read_by_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(random_tensors(), path)
    info = read_info(path)
    assert (info.config.shapes, info.card) == (CONFIG.shapes, {})


def test_the_bytes_are_as_the_security_page_says(path: Path) -> None:
    tensors = random_tensors()
    write_checkpoint(path, CONFIG, tensors, {"title": "Random"})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length].decode("utf-8"))
    meta = header.pop("__metadata__")
    assert (meta["format"], meta["version"]) == ("tinysr", "1")
    assert json.loads(meta["config"]) == dataclasses.asdict(CONFIG)
    assert json.loads(meta["card"]) == {"title": "Random"}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        assert (entry["dtype"], begin) == ("F32", end)
        values = np.frombuffer(data[8 + length + begin : 8 + length + stop], "<f4")
        np.testing.assert_array_equal(values.reshape(entry["shape"]), tensors.pop(name))
        end = stop
    assert not tensors and 8 + length + end == len(data)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"head.weight": [1.0]}))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _not_finite(path: Path) -> None:
    tensors = random_tensors()
    tensors["trunk.1.bias"][3] = np.nan
    write_checkpoint(path, CONFIG, tensors, {})


def _wrong_shape(path: Path) -> None:
    save_file(random_tensors() | {"trunk.1.bias": np.zeros(5, np.float32)}, path)


def _newer(path: Path) -> None:
    save_file(random_tensors(), path, {"format": "tinysr", "version": "2"})


def _bad_card(path: Path) -> None:
    save_file(random_tensors(), path, {"format": "tinysr", "version": "1", "card": "{"})


def _bfloat16(path: Path) -> None:
    """Users of ComfyUI cast models to it. The file is an fp16 file with another header."""
    data = save({name: tensor.astype(np.float16) for name, tensor in random_tensors().items()})
    start = 8 + int.from_bytes(data[:8], "little")
    header = data[8:start].replace(b'"F16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[start:])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_bfloat16, "BF16; cast"),
        (_truncated, "safetensors file"),
        (_empty, "safetensors file"),
        (_pickle, "safetensors file"),
        (_folder, "safetensors file"),
        (_not_finite, r"NaN .* trunk\.1\.bias"),
        (_wrong_shape, "not a TinySR network"),
        (_newer, "format version 2"),
        (_bad_card, "header .* damaged"),
        (Path.unlink, "There is no file"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(path: Path, damage: object, sentence: str) -> None:
    assert callable(damage)
    damage(path)
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(path)


def test_tensors_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match="do not fit"):
        write_checkpoint(path, ModelConfig(), random_tensors(), {})
    assert list(tmp_path.iterdir()) == []
