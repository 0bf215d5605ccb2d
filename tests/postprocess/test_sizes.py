import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysr_core.errors import RequestError
from tinysr_core.postprocess.sizes import ExactSize, Factor, LongestSide, Megapixels, parse_size, result_size

sides = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("target", "height", "width", "expected"),
    [
        (Factor(2), 480, 640, (960, 1280, 2.0)),
        (Factor(1.5), 3, 4, (5, 6, 5 / 3)),  # 4.5 rounds up
        (Factor(3.7), 5, 10, (19, 37, 3.8)),  # 18.5 rounds up
        (Factor(1.005), 100, 1000, (101, 1005, 1.01)),  # as typed: 100.5, not 100.49999999999999
        (Factor(0.5), 3, 8, (2, 4, 2 / 3)),
        (Factor(0.01), 1, 1, (1, 1, 1.0)),
        (ExactSize(width=1920, height=1080), 100, 100, (1080, 1920, 19.2)),
        (LongestSide(4000), 667, 1001, (2665, 4000, 4000 / 1001)),
        (LongestSide(2048), 4096, 1024, (2048, 512, 0.5)),
        (LongestSide(10), 1, 4000, (1, 10, 1.0)),  # 0.0025 of a pixel is still one
        (Megapixels(12), 1000, 1000, (3464, 3464, 3.464)),
        (Megapixels(24), 2000, 3000, (4000, 6000, 2.0)),
    ],
)
def test_known_sizes(target, height, width, expected):
    result = result_size(target, height, width)
    assert (result.height, result.width) == expected[:2]
    assert result.factor == pytest.approx(expected[2])


@given(sides, sides, st.sampled_from([1.5, 2, 3, 3.7, 4]), st.integers(1, 8000))
def test_sides_are_whole_close_and_never_empty(height, width, factor, longest):
    scaled = result_size(Factor(factor), height, width, max_pixels=10**12)
    assert abs(scaled.height - height * factor) <= 0.5
    assert abs(scaled.width - width * factor) <= 0.5
    assert scaled.factor <= math.ceil(factor)

    fitted = result_size(LongestSide(longest), height, width, max_pixels=10**12)
    assert max(fitted.height, fitted.width) == longest
    assert min(fitted.height, fitted.width) >= 1


@given(sides, sides, st.floats(0.01, 400))
def test_megapixels_keep_the_ratio(height, width, millions):
    result = result_size(Megapixels(millions), height, width, max_pixels=10**12)
    factor = math.sqrt(millions * 1e6 / (height * width))
    assert abs(result.height - height * factor) <= 0.5 or result.height == 1
    assert abs(result.width - width * factor) <= 0.5 or result.width == 1


@pytest.mark.parametrize("kind", [Factor, Megapixels])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_invalid_numbers_are_refused(kind, value):
    with pytest.raises(RequestError, match="positive number"):
        kind(value)


@pytest.mark.parametrize("value", [0, -5, 1.5, math.nan])
def test_invalid_sides_are_refused(value):
    with pytest.raises(RequestError, match="whole number"):
        LongestSide(value)
    with pytest.raises(RequestError, match="The height"):
        ExactSize(10, value)


def test_results_over_the_limit_are_refused_with_numbers():
    with pytest.raises(RequestError, match=r"100000 x 100000 = 10,000 megapixels.*limit of 500"):
        result_size(Factor(100), 1000, 1000)
    with pytest.raises(RequestError, match="megapixels"):
        result_size(Factor(1e200), 1000, 1000)
    assert result_size(Factor(4), 4000, 6000).width == 24_000  # the largest promised result


def test_size_is_written_width_first():
    assert parse_size(" 1920 × 1080") == ExactSize(width=1920, height=1080)
    for wrong in ("1920", "1920x", "axb", "-5x7", "1920x1080x3", ""):
        with pytest.raises(RequestError, match="1920x1080"):
            parse_size(wrong)
    with pytest.raises(RequestError, match="The width"):
        parse_size("0x5")
