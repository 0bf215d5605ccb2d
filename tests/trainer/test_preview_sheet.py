from pathlib import Path

import numpy as np
from PIL import Image

from tinysr_core.trainer.preview_sheet import GAP, SIDE, TITLE, enlarged, write_preview


def test_crops_are_shown_pixel_by_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = (
        [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((300, 400), (100, 80))]
        for _ in range(2)
    )
    write_preview(tmp_path / "p.png", {"now": first, "original": second})
    sheet = np.asarray(Image.open(tmp_path / "p.png"))
    assert sheet.shape == (TITLE + SIDE + GAP + 100 + GAP, 2 * SIDE + GAP, 3)
    np.testing.assert_array_equal(sheet[TITLE : TITLE + SIDE, :SIDE], first[0][22:278, 72:328])
    np.testing.assert_array_equal(sheet[TITLE : TITLE + SIDE, SIDE + GAP :], second[0][22:278, 72:328])
    below = TITLE + SIDE + GAP
    np.testing.assert_array_equal(sheet[below : below + 100, :80], first[1])


def test_at_most_a_few_rows(tmp_path: Path) -> None:
    pictures = [np.zeros((20, 20, 3), np.uint8)] * 9
    write_preview(tmp_path / "p.png", {"now": pictures})
    assert Image.open(tmp_path / "p.png").height == TITLE + 4 * (20 + GAP)


def test_the_small_picture_is_enlarged_by_repeating() -> None:
    small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = enlarged(small, 3)
    assert large.shape == (6, 6, 3)
    np.testing.assert_array_equal(large[1::3, 1::3], small)
