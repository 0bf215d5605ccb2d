import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysr_core.engines.tiling import MIN_PROBES, PROBE_SHARE, PROBE_SIDE, WHOLE_SIDE, Span, Window, probes, tiles

LENGTHS = st.integers(1, 300)


@given(LENGTHS, LENGTHS, st.integers(7, 100), st.booleans())
def test_tiles_cover_the_picture_once(height: int, width: int, side: int, even: bool) -> None:
    covered = np.zeros((1, 1, height, width), int)
    for tile in tiles(height, width, side, even):
        assert 0 < len(tile.rows) <= side
        assert 0 < len(tile.columns) <= side
        covered[tile.index] += 1
    assert (covered == 1).all()


@given(LENGTHS, LENGTHS, st.integers(7, 100))
def test_tiles_are_of_nearly_equal_size(height: int, width: int, side: int) -> None:
    sizes = {len(tile.rows) for tile in tiles(height, width, side)}
    assert max(sizes) - min(sizes) <= 1


def test_an_even_number_of_tiles() -> None:
    """So that two threads finish at the same time. They are not much smaller than an odd number of tiles would be."""
    counts = {size: len(tiles(*size, 512, even=True)) for size in [(512, 9), (513, 9), (1500, 1500), (512, 1300)]}
    assert counts == {(512, 9): 1, (513, 9): 2, (1500, 1500): 12, (512, 1300): 6}


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(5, 20))
def test_probes_lie_inside_and_cost_little(height: int, width: int, halo: int) -> None:
    windows = probes(height, width, halo)
    for window in windows:
        assert 0 <= window.rows.start < window.rows.stop <= height
        assert 0 <= window.columns.start < window.columns.stop <= width
    cost = sum(window.grown(halo, height, width).area for window in windows)
    assert cost <= max(PROBE_SHARE * height * width, MIN_PROBES * (PROBE_SIDE + 2 * halo) ** 2)
    assert bool(windows) == (max(height, width) > WHOLE_SIDE)


def test_probes_of_a_large_picture_do_not_overlap() -> None:
    counted = np.zeros((1, 1, 1000, 1500), int)
    for window in probes(1000, 1500, 13):
        counted[window.index] += 1
    assert counted.max() == 1
    assert counted.sum() == len(probes(1000, 1500, 13)) * PROBE_SIDE**2


def test_a_small_picture_is_its_own_probe() -> None:
    assert probes(512, 400, 13) == []
    assert len(probes(513, 400, 13)) >= 4
    assert len(probes(20, 2000, 13)) >= 4


def test_span_arithmetic() -> None:
    span = Span(10, 20)
    assert span.grown(14, 30) == Span(0, 30)
    assert span.within(Span(4, 40)) == Span(6, 16)
    assert span.scaled(3) == Span(30, 60)
    window = Window(span, Span(0, 5))
    assert window.area == 50
    assert np.zeros((1, 3, 30, 30))[window.index].shape == (1, 3, 10, 5)


@pytest.mark.parametrize("side", [512, 640, 1024])
@pytest.mark.parametrize(("height", "width"), [(512, 512), (1024, 1024), (2000, 3000), (4000, 6000), (700, 9000)])
def test_a_large_picture_takes_hardly_more_work_for_each_pixel(height: int, width: int, side: int) -> None:
    """Compared with a small picture, which is one tile. The sides are the defaults of the engines."""
    windows = [core.grown(14, height, width) for core in tiles(height, width, side)]
    windows += [core.grown(13, height, width) for core in probes(height, width, 13)]
    assert sum(window.area for window in windows) <= 1.12 * height * width
