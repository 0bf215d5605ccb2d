from pathlib import Path

import numpy as np
from PIL import Image

from tinysr_core.evaluation.table import Measurement, Pair
from tinysr_core.evaluation.worst import SIDE, TITLE, Worst, worst_window


def test_the_window_lies_over_the_error() -> None:
    original = np.full((300, 500, 3), 100, np.uint8)
    result = original.copy()
    result[200:230, 400:420] += 50
    rows, columns = worst_window(result, original, 40)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (40, 40)
    assert rows.start <= 200 and rows.stop >= 230
    assert columns.start <= 400 and columns.stop >= 420


def test_a_small_picture_is_its_own_window() -> None:
    original = np.zeros((20, 400, 3), np.uint8)
    rows, columns = worst_window(original, original)
    assert (rows, columns.stop - columns.start) == (slice(0, 20), SIDE)


def test_the_worst_of_each_method_are_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    hr = random.integers(0, 200, (300, 320, 3), dtype=np.uint8)
    pair = Pair("p", hr[::2, ::2], hr)
    worst = Worst(["ours", "a/b"], 2)
    for picture, psnr in (("good", 40.0), ("bad", 20.0), ("middling", 30.0)):
        for method in ("bicubic", "ours", "a/b"):
            worst.add(Measurement("set", picture, 2, method, psnr, 0.9, None), pair, hr + np.uint8(9))
    paths = worst.write(tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths) == [
        "a_b-1-set-bad.png",
        "a_b-2-set-middling.png",
        "ours-1-set-bad.png",
        "ours-2-set-middling.png",
    ]
    sheet = np.asarray(Image.open(paths[0]))
    window = worst_window(hr + np.uint8(9), hr)
    np.testing.assert_array_equal(sheet[TITLE:, :SIDE], hr[window])
    np.testing.assert_array_equal(sheet[TITLE:, -SIDE:], hr[window] + np.uint8(9))
