import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysr_core.engines.upscaler import Upscaler
from tinysr_core.pipeline import enhance
from tinysr_core.postprocess import ExactSize, Finish
from tinysr_core.util import memory
from tinysr_core.util.memory import Work, available_bytes
from tinysr_core.util.threads import thread_count

LARGE = Work(
    4000, 6000, colours=3, alpha=False, scale=4, result_height=16000, result_width=24000, post_processing=False
)


class NearestEngine:
    """A network without features, so that only the pictures take memory."""

    scale, halo, border, pool_halo, only_enlarges, takes_batches = 2, 0, 0, None, True, False
    parallel = 1

    def run(self, image: Any, gate: Any) -> Any:
        return image.repeat(2, 2).repeat(2, 3)

    def moved(self, image: Any) -> Any:
        return image

    def gate(self, image: Any, cores: Any) -> Any:
        raise AssertionError


def test_a_result_of_384_megapixels_needs_its_own_size_and_little_more() -> None:
    result = 4 * 3 * 16000 * 24000
    assert result < LARGE.bytes_needed() < 1.5 * result


@pytest.mark.parametrize(
    ("colours", "alpha", "height", "width", "post_processing"),
    [
        (3, False, 2048, 2048, False),
        (3, True, 1500, 1400, False),
        (1, True, 2048, 2048, False),
        (3, False, 2048, 2048, True),
        (1, True, 700, 800, True),
    ],
)
def test_the_estimate_covers_what_the_pipeline_takes(
    colours: int, alpha: bool, height: int, width: int, post_processing: bool
) -> None:
    work = Work(1024, 1024, colours, alpha, 2, height, width, post_processing, tile=32)
    pixels = np.ones((1, colours, 1024, 1024), np.float32)
    opacity = np.linspace(0, 1, 1024 * 1024, dtype=np.float32).reshape(1, 1, 1024, 1024) if alpha else None
    tracemalloc.start()
    finish = Finish(ExactSize(width, height), sharpen=post_processing, anti_alias=post_processing)
    enhance(Upscaler(NearestEngine(), 256), pixels, opacity, finish)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * (work.bytes_needed() - thread_count() * memory.SLAB_BYTES) < peak < 1.05 * work.bytes_needed()


def test_a_larger_tile_needs_more() -> None:
    assert dataclasses.replace(LARGE, tile=2048).bytes_needed() > LARGE.bytes_needed() + 10**9


def test_available_memory_is_plausible() -> None:
    assert 10**8 < (available_bytes() or 0) < 10**14


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 600000\ninactive_file 100000\n")
    assert list(memory._cgroup_free(tmp_path)) == [400_000]
    (tmp_path / "memory.max").write_text("max\n")
    assert list(memory._cgroup_free(tmp_path)) == []
