import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tinysr_core.errors import DataError
from tinysr_core.evaluation.table import (
    Measurement,
    as_csv,
    as_json,
    as_markdown,
    evaluate,
    interpolation,
    load_pairs,
    to_float,
)
from tinysr_core.loss.lpips import load_lpips
from tinysr_core.postprocess.resize import resize


def photo(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_photographs_are_cropped_and_shrunk(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 50, 40)
    (pair,) = load_pairs(tmp_path, 3)
    assert pair.name == "a"
    assert pair.hr.shape == (36, 48, 3)
    assert pair.lr.shape == (12, 16, 3)
    np.testing.assert_array_equal(pair.hr, np.asarray(Image.open(tmp_path / "a.png"))[:36, :48])
    expected = resize(to_float(pair.hr), 12, 16)[0].transpose(1, 2, 0)
    assert np.abs(pair.lr - 255 * expected.clip(0, 1)).max() <= 0.501
    (pair,) = load_pairs(tmp_path, 8)
    assert (pair.hr.shape, pair.lr.shape) == ((24, 48, 3), (3, 6, 3))


def test_standard_sets_are_read_as_they_are(tmp_path: Path) -> None:
    photo(tmp_path / "x2" / "img_001_SRF_2_HR.png", 20, 20)
    photo(tmp_path / "x2" / "img_001_SRF_2_LR.png", 10, 10)
    (pair,) = load_pairs(tmp_path, 2)
    assert (pair.name, pair.lr.shape, pair.hr.shape) == ("img_001_SRF_2", (10, 10, 3), (20, 20, 3))
    with pytest.raises(DataError, match="no pictures for ×4"):
        list(load_pairs(tmp_path, 4))


ROWS = [
    Measurement("set", "a", 2, "bicubic", 30.0, 0.9, 0.1),
    Measurement("set", "b", 2, "bicubic", 32.0, 0.9, 0.3),
    Measurement("set", "a", 2, "ours", 33.0, 0.95, None),
]


def test_the_table() -> None:
    assert as_markdown(ROWS).splitlines()[2:] == [
        "| set (2) | bicubic | 31.00 ± 1.41 | 0.9000 ± 0.0000 | 0.2000 ± 0.1414 |",
        "| set (1) | ours | 33.00 ± 0.00 | 0.9500 ± 0.0000 | - |",
    ]


def test_every_row_is_in_csv_and_json() -> None:
    assert [row["psnr"] for row in csv.DictReader(io.StringIO(as_csv(ROWS)))] == ["30.0", "32.0", "33.0"]
    assert [row["lpips"] for row in json.loads(as_json(ROWS))] == [0.1, 0.3, None]


def test_pictures_without_any_error_have_a_place_in_every_table() -> None:
    rows = [*ROWS, Measurement("set", "c", 2, "bicubic", float("inf"), 1.0, 0.0)]
    assert "| set (3) | bicubic | ∞ |" in as_markdown(rows)
    assert json.loads(as_json(rows))[-1]["psnr"] is None
    assert list(csv.DictReader(io.StringIO(as_csv(rows))))[-1]["psnr"] == "inf"


def test_results_are_shown_with_their_pictures(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 48, 36)
    seen: list[Any] = []
    (row,) = evaluate(
        [tmp_path], 2, {"bicubic": interpolation("bicubic", 2)}, on_result=lambda *shown: seen.append(shown)
    )
    ((shown, pair, result),) = seen
    assert (shown, pair.name) == (row, "a")
    np.testing.assert_array_equal(result, interpolation("bicubic", 2)(pair.lr))


def test_pictures_too_small_to_measure_are_told(tmp_path: Path) -> None:
    photo(tmp_path / "tiny.png", 40, 23)
    with pytest.raises(DataError, match=r"tiny\.png .* 24 pixels"):
        list(load_pairs(tmp_path, 2))


def pillow_resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pillow's bicubic, in floating point: on 8 bits it rounds between its two passes."""
    channels = [Image.fromarray(picture[..., i].astype(np.float32)) for i in range(3)]
    resized = [channel.resize((width, height), Image.Resampling.BICUBIC) for channel in channels]
    return np.stack([np.rint(channel).clip(0, 255) for channel in resized], 2).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_a_portrait_is_what_pillow_and_scikit_image_measure(
    scale: int, tmp_path: Path, backbones: Path
) -> None:
    with Image.open(Path(__file__).parents[2] / "examples" / "portrait.png") as portrait:
        hr = np.asarray(portrait.convert("RGB").crop((100, 100, 220, 196)))
    Image.fromarray(hr).save(tmp_path / "portrait.png")
    sr = pillow_resize(pillow_resize(hr, 120 // scale, 96 // scale), 120, 96)
    a, b = (rgb2ycbcr(picture)[scale:-scale, scale:-scale, 0] for picture in (hr, sr))
    _, similarity = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    lpips = load_lpips("alex", backbones)
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255 for picture in (sr, hr)]
    (row,) = evaluate([tmp_path], scale, {"bicubic": interpolation("bicubic", scale)}, lpips)
    assert row.psnr == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-3)
    assert row.ssim == pytest.approx(similarity[5:-5, 5:-5].mean(), abs=1e-5)
    assert row.lpips == pytest.approx(float(lpips(*tensors)), rel=1e-3)


@pytest.mark.parametrize(("scale", "psnr", "ssim", "lpips"), [(2, 33.68, 0.9304, 0.128), (4, 28.43, 0.8113, 0.341)])
def test_bicubic_on_set5_is_what_everybody_measures(
    scale: int, psnr: float, ssim: float, lpips: float, shared: Path
) -> None:
    folder = shared / "data" / "val" / "set5"
    methods = {"bicubic": interpolation("bicubic", scale)}
    rows = list(evaluate([folder], scale, methods, load_lpips("alex", shared / "weights")))
    assert len(rows) == 5
    assert np.mean([row.psnr for row in rows]) == pytest.approx(psnr, abs=0.01)
    assert np.mean([row.ssim for row in rows]) == pytest.approx(ssim, abs=5e-4)
    assert np.mean([row.lpips for row in rows if row.lpips is not None]) == pytest.approx(lpips, abs=1e-3)
