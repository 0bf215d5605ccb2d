"""The fine-tuning command, in a small way."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tinysr_training.__main__ import main

from tinysr_core.checkpoint import read_checkpoint

TOY = """
steps = 4
[model]
channels = 16
blocks = 1
[data]
patch = 12
batch = 2
[loss]
vgg = 0
l1 = 1
[optimizer]
warmup = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (tmp_path / "toy.toml").write_text(TOY)
    return folder


def test_a_folder_becomes_a_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = folder.parent
    arguments = [str(folder), "--recipe", str(base / "toy.toml"), "--scale", "3", "--out", str(base / "runs")]
    assert main([*arguments, "--base", "None"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == base / "runs" / "my-portraits-x3" / "my-portraits-x3.safetensors"
    checkpoint = read_checkpoint(path)
    assert checkpoint.config.scale == 3
    assert checkpoint.card["step"] == 4
    assert main([*arguments, "--name", "second", "--base", str(path), "--steps", "2"]) == 0
    second = read_checkpoint(base / "runs" / "second-x3" / "second-x3.safetensors")
    assert second.card["base_sha256"] == checkpoint.sha256


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["FOLDER", "--recipe", "papr"], "no recipe 'papr'; choose fidelity, finetune, paper, portrait"),
        (["FOLDER/none"], "is not a folder"),
        (["FOLDER", "--base", "nobody"], "no model 'nobody'"),
        (["FOLDER", "--backbones", "FOLDER"], "no vgg19_features.safetensors"),
    ],
)
def test_mistakes_are_told(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.replace("FOLDER", str(folder)) for argument in arguments]) == 1
    assert sentence in capsys.readouterr().err


def test_the_papers_recipe_runs_as_written(folder: Path, shared: Path) -> None:
    """A few of its steps, with the real VGG19."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    out = folder.parent / "runs"
    arguments = [str(folder), "--recipe", "paper", "--max-minutes", "0.05", "--base", "None"]
    arguments += ["--backbones", str(shared / "weights")]
    assert main([*arguments, "--out", str(out)]) == 0
    card = read_checkpoint(out / "my-portraits-x2" / "my-portraits-x2.safetensors").card
    assert card["recipe"]["loss"]["vgg_taps"] == ["relu1_1", "relu2_1", "relu3_1"]
