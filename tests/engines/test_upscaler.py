import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysr_core.engines import EngineName, load_upscaler, torch_cpu, torch_engine
from tinysr_core.engines import upscaler as upscaler_module
from tinysr_core.engines.engine import BORDER
from tinysr_core.engines.tiling import probes
from tinysr_core.engines.torch_cpu import pooled_in_strips, run_in_bands
from tinysr_core.engines.torch_engine import TorchEngine
from tinysr_core.engines.upscaler import VIDEO_CLEAN, AutoUpscaler, Upscaler, beyond_scale
from tinysr_core.errors import MemoryLimitError, RequestError
from tinysr_core.model.config import PRESETS, ModelConfig
from tinysr_core.model.network import TinySR

from .networks import random_checkpoint

SMALL = ModelConfig(channels=16, blocks=2)


def picture(height: int, width: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 3, height, width), dtype=np.float32)


def upscaler(config: ModelConfig = SMALL, tile: int | None = None) -> Upscaler:
    return Upscaler(TorchEngine.from_checkpoint(random_checkpoint(config), "cpu", "fp32"), tile)


class CountingEngine(TorchEngine):
    """Counts its LR pixels, and raises MemoryError for tiles of more than `limit` pixels."""

    limit = 10**9

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ran = self.pooled = 0

    def run(self, image: Any, gate: Any) -> Any:
        if image.shape[2] * image.shape[3] > self.limit:
            raise MemoryError
        self.ran += image.shape[2] * image.shape[3]
        return super().run(image, gate)

    def gate(self, image: Any, cores: Any) -> Any:
        self.pooled += sum(core.grown(self.pool_halo, *image.shape[2:]).area for core in cores)
        return super().gate(image, cores)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("attention", [True, False])
@settings(max_examples=8)
@given(height=st.integers(1, 150), width=st.integers(1, 150), tile=st.integers(32, 120), scale=st.integers(1, 4))
def test_tiled_equals_whole(preset: str, attention: bool, height: int, width: int, tile: int, scale: int) -> None:
    config = dataclasses.replace(PRESETS[preset], attention=attention, scale=scale)
    engine = TorchEngine.from_checkpoint(random_checkpoint(config), "cpu", "fp32")
    image = picture(height, width)
    whole = Upscaler(engine).upscale(image)
    assert whole.shape == (1, 3, scale * height, scale * width)
    np.testing.assert_allclose(Upscaler(engine, tile).upscale(image), whole, atol=1e-5)


def test_tiled_equals_whole_where_probe_windows_are_used() -> None:
    image = picture(420, 530)
    engine = CountingEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    assert probes(420, 530, SMALL.trunk_halo)
    whole = Upscaler(engine, 1000).upscale(image)
    assert engine.pooled <= 0.1 * engine.ran
    for tile in (100, 257):
        np.testing.assert_allclose(Upscaler(engine, tile).upscale(image), whole, atol=1e-5)


def test_the_gate_follows_the_whole_picture() -> None:
    """By more than the tolerance of the two tests above, which would otherwise pass without a gate."""
    image = picture(40, 80)
    changed = image.copy()
    changed[..., 70:] = 0
    ours = upscaler()
    far = (..., slice(0, 40))
    assert np.abs(ours.upscale(image)[far] - ours.upscale(changed)[far]).max() > 3e-5


def test_whole_is_what_the_model_gives() -> None:
    image = picture(30, 40)
    model = TinySR(SMALL)
    model.load_state_dict({name: torch.from_numpy(t) for name, t in random_checkpoint(SMALL).tensors.items()})
    padded = np.pad(image, ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER)), "symmetric")
    with torch.no_grad():
        expected = model(torch.from_numpy(padded)).clamp(0, 1).numpy()
    cut = 2 * BORDER
    np.testing.assert_allclose(upscaler().upscale(image), expected[:, :, cut:-cut, cut:-cut], atol=1e-6)


def test_kind_type_and_range() -> None:
    image = picture(20, 25, batch=2)
    kept = image.copy()
    result = upscaler().upscale(image)
    assert result.dtype == np.float32
    assert 0 <= result.min() < result.max() <= 1
    np.testing.assert_array_equal(image, kept)
    tensor = upscaler().upscale(torch.from_numpy(image))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), result)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    a, b = picture(40, 40, seed=1), picture(40, 40, seed=2)
    both = upscaler().upscale(np.concatenate([a, b]))
    np.testing.assert_array_equal(both, np.concatenate([upscaler().upscale(a), upscaler().upscale(b)]))


def test_progress_counts_tiles_and_can_cancel() -> None:
    calls: list[tuple[int, int]] = []
    upscaler(tile=32).upscale(picture(60, 60, batch=2), lambda done, total: calls.append((done, total)))
    first, second = [(0, 8), (0, 8), (1, 8), (2, 8), (3, 8), (4, 8)], [(4, 8), (4, 8), (5, 8), (6, 8), (7, 8), (8, 8)]
    assert calls == first + second, "before and after the gate of each picture, and after each tile"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    engine = CountingEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    with pytest.raises(KeyboardInterrupt):
        Upscaler(engine, 32).upscale(picture(60, 60), stop)
    assert engine.ran == 2 * (30 + SMALL.halo + BORDER) ** 2


def chain(scale: int, tile: int | None = None) -> Upscaler:
    """A network of `scale`, followed by one of scale 2."""
    engine = TorchEngine.from_checkpoint(random_checkpoint(dataclasses.replace(SMALL, scale=scale)), "cpu", "fp32")
    return Upscaler(engine, tile, lambda: upscaler(tile=tile))


@pytest.mark.parametrize(("factor", "steps"), [(1, [4]), (4.8, [4]), (5, [4, 2]), (8, [4, 2]), (16, [4, 2, 2])])
def test_beyond_the_scale_networks_follow_each_other(factor: float, steps: list[int]) -> None:
    assert chain(4).steps(factor) == steps
    assert upscaler(dataclasses.replace(SMALL, scale=4)).steps(factor) == [4]


def test_a_chain_is_exact_in_tiles_and_tells_steady_progress() -> None:
    image = picture(40, 50)
    told: list[tuple[int, int]] = []
    whole = chain(4).enlarge(image, 8)
    tiled = chain(4, tile=32).enlarge(image, 8, lambda done, total: told.append((done, total)))
    assert whole.shape == (1, 3, 320, 400)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    shares = [done / total for done, total in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    np.testing.assert_array_equal(chain(4).enlarge(image, 4), chain(4).upscale(image))


def test_auto_has_the_same_size_where_the_cleaned_network_is_smaller() -> None:
    loaded = {False: upscaler(dataclasses.replace(SMALL, scale=8)), True: chain(4)}
    auto = AutoUpscaler(lambda clean: loaded[clean > 0])
    noisy, calm = picture(40, 50), np.full((1, 3, 40, 50), 0.5, np.float32)
    np.testing.assert_array_equal(auto.upscale(noisy), loaded[True].enlarge(noisy, 8))
    np.testing.assert_array_equal(auto.upscale(calm), loaded[False].upscale(calm))


def test_the_note_says_what_was_done() -> None:
    assert beyond_scale([4, 2], 8) == "×8 is reached by networks for ×4, then ×2."
    assert beyond_scale([4, 2], 6.5).endswith("by networks for ×4, then ×2 and a bicubic resize.")
    assert beyond_scale([4], 4.5).endswith("by a network for ×4 and a bicubic resize.")


def test_out_of_memory_halves_the_tile() -> None:
    image = picture(120, 150)
    engine = CountingEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    engine.limit = 90 * 90
    ours = Upscaler(engine)
    np.testing.assert_allclose(ours.upscale(image), upscaler().upscale(image), atol=1e-5)
    assert ours.tile == 75
    engine.limit = 100
    with pytest.raises(MemoryLimitError, match="Memory ran out even with tiles"):
        Upscaler(engine).upscale(image)


def test_a_result_that_cannot_be_allocated_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise MemoryError

    ours, image = upscaler(), picture(20, 20)
    monkeypatch.setattr(upscaler_module.np, "empty", refuse)
    with pytest.raises(MemoryLimitError, match="needs 19,200 bytes"):
        ours.upscale(image)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8), (0, 3, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="must be an array"):
        upscaler().upscale(np.zeros(shape, np.float32))


@pytest.mark.parametrize("image", [np.zeros((1, 3, 8, 8), np.uint8), torch.zeros(1, 3, 8, 8, dtype=torch.int32)])
def test_whole_numbers_are_refused(image: Any) -> None:
    with pytest.raises(RequestError, match="divide 8-bit pixels by 255"):
        upscaler().upscale(image)


def test_tiles_that_are_too_small_are_refused() -> None:
    with pytest.raises(RequestError, match="tile of 8 pixels is too small"):
        upscaler(tile=8)


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp16"), ("cuda:99", "auto"), ("abacus", "auto")])
def test_impossible_devices_are_refused(device: str, precision: Any) -> None:
    with pytest.raises(RequestError, match="choose auto"):
        TorchEngine.from_checkpoint(random_checkpoint(SMALL), device, precision)


@pytest.mark.parametrize(("height", "width"), [(150, 170), (64, 33)])
def test_tiled_equals_whole_in_bf16(height: int, width: int) -> None:
    """Sums are in float32 and rounded in the same way in all tiles."""
    engine = TorchEngine.from_checkpoint(random_checkpoint(PRESETS["tiny"]), "cpu", "bf16")
    image = picture(height, width)
    whole = Upscaler(engine).upscale(image)
    for tile in (32, 48, 97):
        np.testing.assert_allclose(Upscaler(engine, tile).upscale(image), whole, atol=1e-5)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_cpu_computes_in_it(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"avx512_bf16": native, "avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    engine = TorchEngine.from_checkpoint(random_checkpoint(SMALL), "cpu")
    assert engine.path.dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", (9, 0), torch.float16),
        ("NVIDIA GeForce RTX 2060", (7, 5), torch.float16),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), torch.float32),
        ("NVIDIA GeForce GTX 1080", (6, 1), torch.float32),
    ],
)
def test_gpus_that_are_not_good_at_fp16_run_in_fp32(
    name: str, capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert torch_engine._dtype("auto", torch.device("cuda")) == expected


def test_bf16_stays_close_to_fp32() -> None:
    image = picture(64, 64)
    half = Upscaler(TorchEngine.from_checkpoint(random_checkpoint(PRESETS["tiny"]), "cpu", "bf16")).upscale(image)
    full = Upscaler(TorchEngine.from_checkpoint(random_checkpoint(PRESETS["tiny"]), "cpu", "fp32")).upscale(image)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).mean() < 4e-3


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("given", [True, False])
@settings(max_examples=12)
@given(height=st.integers(1, 200), width=st.integers(1, 60), band=st.integers(1, 3000), threads=st.integers(1, 3))
def test_bands_give_what_the_model_gives(
    attention: bool, given: bool, height: int, width: int, band: int, threads: int
) -> None:
    model = TinySR(dataclasses.replace(SMALL, attention=attention)).eval().requires_grad_(False)
    image = torch.from_numpy(picture(height, width))
    gate = torch.rand(1, SMALL.channels) if given and attention else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = run_in_bands(model, image, gate, band)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(result, model(image, gate), atol=2e-6, rtol=0)


@settings(max_examples=12)
@given(height=st.integers(1, 300), batch=st.integers(1, 3), part=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_pooling_in_strips_gives_what_the_model_gives(height: int, batch: int, part: tuple[float, float]) -> None:
    model = TinySR(SMALL).eval().requires_grad_(False)
    image = torch.from_numpy(picture(height, 20, batch=batch))
    start = int(min(part) * (height - 1))
    rows, columns = slice(start, max(start + 1, int(max(part) * height))), slice(3, 15)
    found = pooled_in_strips(model, image, rows, columns)
    torch.testing.assert_close(found, model.pooled(image, rows, columns), atol=1e-6, rtol=0)


def test_probe_windows_run_on_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that share a small convolution wait for each other, on a busy machine for seconds."""
    seen: list[int] = []
    real = TinySR.pooled

    def pooled(*arguments: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return real(*arguments)

    monkeypatch.setattr(TinySR, "pooled", pooled)
    engine = TorchEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    windows = probes(600, 700, SMALL.trunk_halo)
    engine.gate(picture(600, 700), windows)
    assert seen == [1] * len(windows)


def test_a_ready_network_is_shared_and_never_changed() -> None:
    model = TinySR.from_tensors(SMALL, TinySR(SMALL).to(memory_format=torch.channels_last).state_dict())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert TorchEngine(model, "cpu", "fp32").path.model is model
    half = TorchEngine(model, "cpu", "bf16").path.model
    assert half.head.weight.dtype == torch.bfloat16
    assert half.attention is not None and torch.equal(half.attention.excite.weight, before["attention.excite.weight"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) and tensor.dtype == torch.float32


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_one_upscaler_in_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gate from probe windows. The number of torch's threads does not change for the host."""
    ours, images = upscaler(tile=150), [picture(150, 530, seed=seed) for seed in range(4)]
    expected = [ours.upscale(image) for image in images]
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(torch_cpu, "cores", lambda: 3)
    try:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(ours.upscale, 3 * images))
        assert threads_of_a_new_thread() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for result, right in zip(results, 3 * expected, strict=True):
        np.testing.assert_allclose(result, right, atol=1e-6)


def test_strips_run_on_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are at most as many strips as cores. Without OpenMP there is one strip, and torch's threads share it."""
    seen: list[int] = []
    real = torch_cpu._enlarged

    def enlarged(*arguments: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return real(*arguments)

    monkeypatch.setattr(torch_cpu, "_enlarged", enlarged)
    image, model = torch.from_numpy(picture(260, 20)), TinySR(SMALL).eval().requires_grad_(False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for cores, limit, expected in [(8, True, [1] * 4), (2, True, [1] * 2), (8, False, [4])]:
            monkeypatch.setattr(torch_cpu, "cores", lambda cores=cores: cores)
            if not limit:
                monkeypatch.setattr(torch_cpu, "_openmp_limit", lambda: None)
            run_in_bands(model, image, None)
            assert [seen.pop() for _ in range(len(seen))] == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("scale", [2, 4])
def test_flat_pictures_stay_flat_at_every_size(engine: EngineName, scale: int) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    upscaler = load_upscaler(scale=scale, engine=engine, device="cpu", precision="fp32")
    for height, width in ((1, 1), (1, 2), (2, 2), (1, 50), (50, 1), (2, 50), (5, 5), (8, 8), (33, 17)):
        for colour in ((0.2, 0.4, 0.6), (0.5, 0.5, 0.5), (1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0)):
            expected = np.array(colour, np.float32)[None, :, None, None]
            result = upscaler.upscale(np.broadcast_to(expected, (1, 3, height, width)))
            np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=1 / 255)


class GpuLikeEngine(CountingEngine):
    """Takes batches, as engines on GPUs do. `limit` is for the pixels of a batch."""

    takes_batches = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.batches: list[int] = []

    def run(self, image: Any, gate: Any) -> Any:
        if image[:, 0].size > self.limit:
            raise MemoryError
        self.batches.append(len(image))
        return super().run(image, gate)


@pytest.mark.parametrize(("height", "width", "tile"), [(30, 38, 48), (420, 530, 700)])
def test_a_gpu_takes_as_many_pictures_as_fit_into_a_tile(height: int, width: int, tile: int) -> None:
    """With the gate from the whole of small pictures, and from probe windows of larger ones."""
    assert bool(probes(height, width, SMALL.trunk_halo)) == (tile == 700)
    image = picture(height, width, batch=5)
    engine = GpuLikeEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    ours = Upscaler(engine, tile)
    seen = []
    result = ours.upscale(image, lambda *progress: seen.append(progress))
    assert engine.batches == [2, 2, 1]
    assert list(dict.fromkeys(seen)) == [(0, 5), (2, 5), (4, 5), (5, 5)]
    np.testing.assert_allclose(result, upscaler().upscale(image), atol=1e-6)


def test_where_memory_runs_out_fewer_pictures_go_together() -> None:
    image = picture(40, 50, batch=8)
    engine = GpuLikeEngine.from_checkpoint(random_checkpoint(SMALL), "cpu", "fp32")
    engine.limit = 2 * (40 + 2 * BORDER) * (50 + 2 * BORDER)
    result = Upscaler(engine, 120).upscale(image)
    assert engine.batches == [1] * 8
    np.testing.assert_allclose(result, upscaler().upscale(image), atol=1e-6)


def test_all_frames_of_a_video_are_cleaned_alike() -> None:
    plain, made = upscaler(), []

    def load(amount: float) -> Upscaler:
        made.append(amount)
        return plain

    chosen, clean = AutoUpscaler(load).for_video
    assert chosen is plain and clean is not None and clean.amount == VIDEO_CLEAN
    assert plain.for_video == (plain, None)
    assert made == [0, VIDEO_CLEAN]
