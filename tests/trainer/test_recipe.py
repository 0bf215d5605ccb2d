from pathlib import Path

import pytest

from tinysr_core.errors import TrainingError
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.recipe import Recipe, dump_recipe, load_recipe
from tinysr_core.trainer.validation import choose_judge

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_are_valid(path: Path) -> None:
    assert load_recipe(path).loss.weights


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_is_written_reads_the_same(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_names_with_quotes_are_written_well(tmp_path: Path) -> None:
    recipe = Recipe(data=DataConfig(shares={'a "b"\\ c': 0.5, "ü": 1.0}), base="C:\\weights\\my.safetensors")
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


@pytest.mark.parametrize("name", ["finetune", "photo"])
def test_fine_tuning_needs_no_large_download(name: str) -> None:
    """SqueezeNet is 5 MB; VGG19 for the loss would be 575 MB, and AlexNet for the judge 244 MB."""
    recipe = load_recipe(next(path for path in RECIPES if path.stem == name))
    assert "vgg" not in recipe.loss.weights
    assert choose_judge(recipe.validation.judge, recipe.loss.weights) == "texture"


def test_the_papers_recipe() -> None:
    recipe = load_recipe(next(path for path in RECIPES if path.stem == "paper"))
    assert recipe.loss.weights == {"vgg": 1.0, "edge": 0.2, "lab": 0.1}
    assert recipe.steps * recipe.data.batch == 50 * recipe.data.crops == 50 * 2000
    assert recipe.data.patch * recipe.model.scale == 64
    assert (recipe.data.flips, recipe.data.max_rotation) == (True, 20)
    assert recipe.optimizer.learning_rate == recipe.optimizer.final_learning_rate == 1e-3


def test_values_are_read_and_defaults_kept(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "steps = 7\n[model]\nscale = 3\n[loss]\nl1 = 2\nvgg_taps = ['conv1_1']\n"))
    assert (recipe.steps, recipe.model.scale, recipe.loss.l1, recipe.loss.vgg_taps) == (7, 3, 2.0, ("conv1_1",))
    assert recipe.optimizer == Recipe().optimizer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stepz = 7", "unknown key 'stepz'.* 'steps'"),
        ("[loss]\nedges = 1", "unknown key 'edges'.* 'edge'"),
        ("steps = 'many'", "steps = 'many' .* like 10000"),
        ("steps = true", "should be like"),
        ("[data]\nflips = 1", "flips = 1 .* like True"),
        ("[model]\nscale = 0", "scale must be at least 1"),
        ("steps = ", "cannot be read"),
        ("[optimizer]\nbetas = [0.9]", "should have 2 numbers"),
        ("[optimizer]\nbetas = [0.9, 'x']", "'x' .* like 0.9"),
        ("[data.degrade]\nquality = [90, 60]", "degrade: quality must be a range within 1 to 95"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        load_recipe(write(tmp_path, text))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
