import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinysr_core.errors import RequestError
from tinysr_core.postprocess.resize import resize

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
sides = st.integers(1, 90)
kernels = st.sampled_from(["bicubic", "lanczos"])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@settings(max_examples=60)
@given(sides, sides, sides, sides, kernels)
def test_is_pillows_resize_in_float(height, width, new_height, new_width, kernel):
    picture = noise(2, 3, height, width)
    ours = resize(picture, new_height, new_width, kernel)
    assert ours.shape == (2, 3, new_height, new_width)
    assert ours.dtype == np.float32
    theirs = Image.fromarray(picture[1, 2]).resize((new_width, new_height), RESAMPLING[kernel])
    np.testing.assert_allclose(ours[1, 2], np.asarray(theirs), atol=2e-6)


@settings(max_examples=30)
@given(sides, sides, sides, sides, kernels)
def test_torch_equals_numpy(height, width, new_height, new_width, kernel):
    picture = noise(1, 3, height, width)
    result = resize(torch.from_numpy(picture), new_height, new_width, kernel)
    np.testing.assert_allclose(result.numpy(), resize(picture, new_height, new_width, kernel), atol=2e-6)


@pytest.mark.parametrize("size", [(75, 50), (20, 13), (300, 200), (150, 31)])
@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_is_pillows_eight_bit_resize_to_one_level(size, kernel):
    # Mid-grey values, because Pillow clips between its two passes.
    levels = np.random.default_rng(1).integers(80, 176, (150, 100, 3), np.uint8)
    ours = resize(levels.transpose(2, 0, 1)[None].astype(np.float32), *size, kernel)[0].transpose(1, 2, 0)
    theirs = np.asarray(Image.fromarray(levels).resize(size[::-1], RESAMPLING[kernel]), np.float32)
    assert np.abs(np.rint(ours) - theirs).max() <= 1


def test_many_blocks_and_slabs_join_seamlessly():
    picture = noise(1, 3, 700, 900)
    for new in [(1400, 2300), (333, 250)]:
        ours = resize(picture, *new)
        theirs = Image.fromarray(picture[0, 1]).resize(new[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(ours[0, 1], np.asarray(theirs), atol=2e-6)


def test_extreme_ratios():
    row = noise(1, 1, 1, 5000)
    np.testing.assert_allclose(resize(row, 1, 1), row.mean(), atol=1e-3)
    np.testing.assert_allclose(resize(noise(1, 1, 1, 1) * 0 + 0.25, 300, 7), 0.25, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_precision(dtype):
    picture = torch.from_numpy(noise(1, 3, 40, 30)).to(dtype)
    result = resize(picture, 57, 91)
    assert result.dtype == dtype
    # Computed in single precision, so that only the result is rounded.
    torch.testing.assert_close(result, resize(picture.float(), 57, 91).to(dtype), rtol=1e-2, atol=1e-3)


def test_torch_keeps_to_one_thread_on_a_cpu_and_tells_progress():
    threads, told = torch.get_num_threads(), []
    resize(torch.rand(1, 3, 700, 900), 1400, 2300, progress=lambda *done: told.append((torch.get_num_threads(), *done)))
    assert len(told) > 2
    assert told == [(1, i, len(told)) for i in range(1, len(told) + 1)]
    assert torch.get_num_threads() == threads


def test_an_exception_of_progress_cancels():
    def cancel(done, total):
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    for picture in (noise(1, 3, 90, 90), torch.rand(1, 3, 90, 90)):
        with pytest.raises(KeyboardInterrupt):
            resize(picture, 50, 50, progress=cancel)
    assert torch.get_num_threads() == threads


def test_a_strided_view_resizes_like_its_copy():
    picture = torch.from_numpy(noise(1, 3, 64, 48)).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(resize(picture, 100, 30), resize(picture.contiguous(), 100, 30))
    array = noise(1, 64, 48, 3).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(resize(array, 100, 30), resize(array.copy(), 100, 30), atol=1e-6)


def test_gradients_flow():
    picture = torch.from_numpy(noise(1, 1, 6, 5)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, 9, 3), picture)


def test_same_size_and_source_are_left_alone():
    picture = noise(1, 3, 20, 30)
    before = picture.copy()
    assert resize(picture, 20, 30) is picture
    resize(picture, 40, 10)
    np.testing.assert_array_equal(picture, before)


def test_memory_is_the_result_and_little_more():
    picture = noise(1, 3, 1500, 1000)
    tracemalloc.start()
    result = resize(picture, 3000, 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + 50_000_000


@pytest.mark.parametrize(
    ("shape", "dtype", "size", "kernel", "message"),
    [
        ((1, 3, 4, 4), np.float32, (0, 4), "bicubic", "4 x 0"),
        ((1, 3, 4, 4), np.float32, (4, 4), "box", "box"),
        ((3, 4, 4), np.float32, (2, 2), "bicubic", r"\[3, 4, 4\]"),
        ((1, 3, 0, 4), np.float32, (2, 2), "bicubic", r"\[1, 3, 0, 4\]"),
        ((1, 3, 4, 4), np.uint8, (2, 2), "bicubic", "uint8"),
    ],
)
def test_invalid_arguments_are_refused(shape, dtype, size, kernel, message):
    with pytest.raises(RequestError, match=message):
        resize(np.zeros(shape, dtype), *size, kernel)
