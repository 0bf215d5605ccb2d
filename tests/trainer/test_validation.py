from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.errors import TrainingError
from tinysr_core.evaluation.table import interpolation
from tinysr_core.images import Pixels8
from tinysr_core.loss.lpips import load_lpips
from tinysr_core.loss.terms import Loss, LossConfig
from tinysr_core.trainer.degrade import DegradeConfig
from tinysr_core.trainer.patches import DataConfig
from tinysr_core.trainer.validation import (
    MAX_LR_PIXELS,
    MAX_PHOTOS,
    MAX_SIDE,
    TIME_SHARE,
    JudgeName,
    Scores,
    ValidationConfig,
    Validator,
    comparison,
    figure,
)

PLAIN = Loss(LossConfig(vgg=0, edge=0, lab=0, l1=1))


def write_photos(folder: Path, number: int, width: int = 90, height: int = 70) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:02}.png" for i in range(number)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return paths


def test_crops_lie_around_the_centre_and_are_shrunk_as_for_training(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 1, 2 * MAX_SIDE + 101, 70)[0]
    validator = Validator([path], 2, DataConfig(), PLAIN)
    whole = np.asarray(Image.open(path))
    assert validator.lr[0].shape == (35, MAX_SIDE, 3)
    np.testing.assert_array_equal(validator.hr[0], whole[:, 50 : 50 + 2 * MAX_SIDE])
    inner = np.asarray(
        Image.open(path).crop((50, 0, 50 + 2 * MAX_SIDE, 70)).resize((MAX_SIDE, 35), Image.Resampling.BICUBIC)
    )
    np.testing.assert_array_equal(validator.lr[0][:, 2:-2], inner[:, 2:-2])


def test_the_cost_is_bounded_however_many_photographs_there_are(tmp_path: Path) -> None:
    validator = Validator(write_photos(tmp_path, 17, 300, 300), 2, DataConfig(), PLAIN)
    assert len(validator.lr) == MAX_PHOTOS
    pixels = sum(lr.shape[0] * lr.shape[1] for lr in validator.lr)
    assert MAX_LR_PIXELS / 2 < pixels <= MAX_LR_PIXELS
    every = validator.interval(ValidationConfig(), 8 * 32 * 32)
    assert 0.5 * pixels <= TIME_SHARE * every * 8 * 32 * 32
    assert validator.interval(ValidationConfig(every=7), 8 * 32 * 32) == 7


def test_recipes_that_degrade_are_validated_on_degraded_pictures(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 2)
    clean = Validator(paths, 2, DataConfig(), PLAIN)
    degraded = [Validator(paths, 2, DataConfig(degrade=DegradeConfig(share=1)), PLAIN) for _ in range(2)]
    assert not np.array_equal(clean.lr[0], degraded[0].lr[0])
    np.testing.assert_array_equal(degraded[0].lr[1], degraded[1].lr[1])
    np.testing.assert_array_equal(clean.hr[1], degraded[0].hr[1])


def test_scores_are_means_of_the_metrics(tmp_path: Path) -> None:
    validator = Validator(write_photos(tmp_path, 3), 2, DataConfig(), PLAIN)
    measured = validator.measure(interpolation("bicubic", 2))
    assert [picture.shape for picture in measured.pictures] == [(70, 90, 3)] * 3
    assert 8 < measured.scores.psnr < 30
    assert (measured.scores.lpips, measured.scores.loss) == (None, None)

    originals = iter(validator.hr)

    def one_level_off(lr: Pixels8) -> Pixels8:
        hr = next(originals).astype(int)
        return np.where(hr < 255, hr + 1, hr - 1).astype(np.uint8)

    assert 40 < validator.measure(one_level_off).scores.psnr < 60


def test_judges(tmp_path: Path, backbones: Path) -> None:
    paths = write_photos(tmp_path, 1)
    own = Loss(LossConfig(vgg=0, edge=0, lab=0, l1=1, lpips=1), lpips=load_lpips("squeeze", backbones))
    alex = load_lpips("alex", backbones)
    bicubic, smooth = interpolation("bicubic", 2), lambda lr: interpolation("bicubic", 2)(lr) * 0
    judges: dict[JudgeName, str] = {"auto": "texture", "psnr": "psnr", "lpips-alex": "lpips", "loss": "loss"}
    for name, metric in judges.items():
        validator = Validator(paths, 2, DataConfig(), own, name, alex)
        assert validator.judge == metric
        good, bad = (validator.measure(method).scores for method in (bicubic, smooth))
        assert good.better_than(bad, validator.judge)
        assert not bad.better_than(good, validator.judge)
        assert (good.loss is not None) == (metric == "loss")
    assert Validator(paths, 2, DataConfig(), PLAIN).judge == "psnr"
    with pytest.raises(TrainingError, match="lpips-alex needs"):
        Validator(paths, 2, DataConfig(), own, "lpips-alex")
    with pytest.raises(ValueError, match="judge 'lpips'; choose auto, psnr, texture, lpips-alex, loss"):
        ValidationConfig(judge="lpips")


def test_figures_in_words() -> None:
    scores = {"bicubic": Scores(30, 0.2), "base": Scores(31.5, 0.1), "now": Scores(31.234, 0.09)}
    assert comparison(scores, "now") == "PSNR-Y 31.23 dB (base 31.50 dB), LPIPS 0.0900 (base 0.1000)"
    del scores["base"]
    assert comparison(scores, "now").startswith("PSNR-Y 31.23 dB (bicubic 30.00 dB)")
    assert figure("loss", scores["now"]) == "-"
    assert scores["now"].better_than(scores["bicubic"], "psnr")
    assert not scores["bicubic"].better_than(scores["now"], "lpips")


@pytest.mark.parametrize("number", [1, 2, 15, 17, 33])
def test_photographs_are_taken_evenly(tmp_path: Path, number: int) -> None:
    validator = Validator(write_photos(tmp_path, number, 40, 40), 2, DataConfig(), PLAIN)
    assert len(validator.lr) == min(number, MAX_PHOTOS)
