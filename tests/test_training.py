"""The fine-tuning command, with a tiny network."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tinysr_training.__main__ import main

from tinysr_core.model.catalog import find_checkpoint
from tinysr_core.model.checkpoint import read_checkpoint, read_info
from tinysr_core.trainer.monitor import Trained
from tinysr_core.trainer.recipe import load_recipe

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


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the home folder of the user out of the tests."""
    home = tmp_path / "home"
    monkeypatch.setattr(Path, "home", lambda: home)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)).resize((64, 64))
        Image.fromarray(np.asarray(coarse) + rng.integers(0, 56, (64, 64, 3), dtype=np.uint8)).save(
            folder / f"{seed}.png"
        )
    (tmp_path / "toy.toml").write_text(TOY)
    return folder


@pytest.fixture
def toy(folder: Path) -> list[str]:
    """A command that takes a second."""
    return [str(folder), "--recipe", str(folder.parent / "toy.toml"), "--out", str(folder.parent / "runs")]


def test_a_folder_becomes_a_checkpoint_that_is_installed(
    toy: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*toy, "--scale", "3"]) == 0
    out, err = capsys.readouterr()
    run_folder = Path(toy[-1]) / "my-portraits-x3"
    path = Path(out.strip())
    assert path == run_folder / "my-portraits-x3.safetensors"
    checkpoint = read_checkpoint(path)
    assert checkpoint.config.scale == 3
    assert checkpoint.card["recipe"]["steps"] == 4
    installed = home / ".tinysr" / "models" / path.name
    assert installed.read_bytes() == path.read_bytes()
    assert f"Installed as {installed}" in err
    assert "4 of 6 photographs for training, 2 others for validation." in err
    assert find_checkpoint("my-portraits", 3) == installed
    with (run_folder / "photos.csv").open(encoding="utf-8") as stream:
        assert sorted(row["use"] for row in csv.DictReader(stream)) == ["training"] * 4 + ["validation"] * 2

    assert main([*toy, "--scale", "3", "--name", "second", "--base", "my-portraits", "--max-steps", "2"]) == 0
    second = read_checkpoint(Path(toy[-1]) / "second-x3" / "second-x3.safetensors")
    assert second.card["base_sha256"] == checkpoint.sha256
    assert second.config == checkpoint.config
    assert second.card["recipe"]["base"] == "my-portraits"


def test_the_card_has_the_name_of_the_base_and_not_its_path(toy: list[str], tmp_path: Path) -> None:
    """Checkpoints are shared, and a path could reveal private folders. The run folder keeps the path."""
    assert main([*toy, "--name", "first", "--no-install"]) == 0
    base = Path(toy[-1]) / "first-x2" / "first-x2.safetensors"
    assert main([*toy, "--name", "second", "--base", str(base), "--no-install"]) == 0
    run_folder = Path(toy[-1]) / "second-x2"
    info = read_info(run_folder / "second-x2.safetensors")
    assert (info.card["recipe"]["base"], info.card["twin"]) == ("first-x2", "first-x2")
    assert str(tmp_path).encode() not in info.path.read_bytes()
    assert load_recipe(run_folder / "recipe.toml").base == str(base)


def test_flags_change_the_recipe_and_the_run_keeps_it(toy: list[str], home: Path) -> None:
    flags = ["--loss.l1", "2", "--optimizer.learning-rate", "1e-4", "--data.degrade.share", "0.5", "--no-install"]
    assert main([*toy, *flags, "--max-steps", "3", "--scale", "3"]) == 0
    runs = Path(toy[-1])
    kept = runs / "my-portraits-x3" / "recipe.toml"
    recipe = load_recipe(kept)
    assert (recipe.loss.l1, recipe.optimizer.learning_rate, recipe.data.degrade.share) == (2, 1e-4, 0.5)
    assert (recipe.steps, recipe.model.scale, recipe.model.channels) == (3, 3, 16)
    assert not (home / ".tinysr").exists()
    again = ["--recipe", str(kept), "--name", "again", "--no-install"]
    assert main([toy[0], *again, "--out", str(runs)]) == 0
    first, second = (read_checkpoint(runs / f"{n}-x3" / f"{n}-x3.safetensors") for n in ("my-portraits", "again"))
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(second.tensors[name], tensor)


def test_photographs_of_other_folders_judge(toy: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder.parent / "other"
    other.mkdir()
    for name in ("0.png", "1.png"):
        (folder / name).rename(other / name)
    twice = str(folder / ".." / "photos")
    assert main([twice, *toy, "--validation", str(other)]) == 0
    assert "4 of 6 photographs for training, 2 others for validation." in capsys.readouterr().err


def test_the_check_alone(toy: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b[ro]ken.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("RGB", (20, 20)).save(folder / "tiny.png")
    assert main([*toy, "--check-only"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    table = " ".join(err.split())
    assert "not used" in table
    assert "tiny.png (20 x 20;" in table
    assert "b[ro]ken.jpg" in table
    assert "These are few: 20 or more" in table
    assert not Path(toy[-1]).exists()
    for seed in range(4):
        (folder / f"{seed}.png").unlink()
    assert main([*toy, "--check-only"]) == 1
    assert "Only 2 of 4 photographs can be used" in capsys.readouterr().err


def test_a_worse_network_is_not_installed(
    toy: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Trained, "better_than_base", False)
    assert main(toy) == 0
    assert "is not installed." in capsys.readouterr().err
    assert not (home / ".tinysr").exists()


def test_training_ends_well_where_mapped_files_cannot_be_deleted(
    toy: list[str], home: Path, windows_files: None
) -> None:
    assert main([*toy, "--scale", "3"]) == 0
    assert find_checkpoint("my-portraits", 3).is_relative_to(home)
    run = Path(toy[-1]) / "my-portraits-x3"
    assert not (run / "photos.cache").exists() and not list(run.glob("*.partial*"))


@pytest.mark.slow
def test_under_torchrun_one_process_checks_and_fetches(toy: list[str]) -> None:
    script = Path(toy[-1]).with_name("command.py")
    script.write_text(
        """
import os, sys
from pathlib import Path
from tinysr_training import __main__ as command

def noted(function):
    def noting(*arguments, **options):
        with Path(sys.argv[-1]).open("a") as stream:
            stream.write(f"{os.environ['RANK']} {function.__name__}\\n")
        return function(*arguments, **options)
    return noting

Path.home = lambda: Path(sys.argv[-1]).with_name("home")
command.check_photos = noted(command.check_photos)
sys.exit(command.main(sys.argv[1:-1]))
"""
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    log = script.with_name("log")
    run = subprocess.run([*launcher, *toy, "--scale", "3", str(log)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert log.read_text().splitlines() == ["0 check_photos"]
    assert run.stdout.count("my-portraits-x3.safetensors") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["FOLDER", "--recipe", "papr"],
            "no recipe 'papr'; choose fidelity, finetune, paper, photo, photo-fidelity, photo-portrait, portrait",
        ),
        (["FOLDER/none"], "is not a folder"),
        (["FOLDER", "--validation", "FOLDER/none"], "is not a folder"),
        (["FOLDER", "--base", "nobody"], "no model 'nobody'"),
        (["FOLDER", "--scale", "7"], "no portrait weights for ×7"),
        (["FOLDER", "--model.channels", "20"], "has 54 channels and 10 blocks"),
        (["FOLDER", "--name", "portrait"], "'portrait' is the name of a shipped model"),
        (["FOLDER", "--data.patch", "24", "--backbones", "FOLDER"], "no lpips_squeeze.safetensors"),
    ],
)
def test_mistakes_are_errors(
    folder: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.replace("FOLDER", str(folder)) for argument in arguments]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--loss.l2", "1"], ["--data.degrade.share", "2"], ["--judge", "alex"], ["--scale", "two"]]
)
def test_invalid_command_lines(toy: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([*toy, *arguments])
    assert error.value.code == 2
    assert arguments[0].split(".")[-1].lstrip("-") in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['lightning'] = None; import tinysr_training.__main__"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("tinysr-finetune: training needs lightning, which is not installed")
    assert 'pip install ".[train]"' in run.stderr


def test_the_papers_recipe_runs_as_written(folder: Path, backbones: Path) -> None:
    """A few of its steps."""
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (100, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    out = folder.parent / "runs"
    arguments = [str(folder), "--recipe", "paper", "--max-minutes", "0.05", "--no-install"]
    arguments += ["--backbones", str(backbones)]
    assert main([*arguments, "--out", str(out)]) == 0
    card = read_checkpoint(out / "my-portraits-x2" / "my-portraits-x2.safetensors").card
    assert card["recipe"]["loss"]["vgg_taps"] == ["relu1_1", "relu2_1", "relu3_1"]
