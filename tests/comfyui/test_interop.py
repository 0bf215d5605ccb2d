"""TinySR in the stock nodes' world; other networks in TinySR's."""

import importlib

import pytest
import torch
from torch import nn


@pytest.fixture
def spandrel():
    """spandrel fails with a RuntimeError where torchvision was built for another torch."""
    try:
        return importlib.import_module("spandrel")
    except Exception as error:
        pytest.skip(f"needs spandrel, which ComfyUI has: {error}")


class Nearest(nn.Module):
    """A network whose result is known: every pixel repeated."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image):
        return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) * self.weight


class Descriptor:
    """What TinySR uses of spandrel's ImageModelDescriptor."""

    def __init__(self, scale=3, channels=3, half=False) -> None:
        self.model = Nearest(scale)
        self.scale = scale
        self.input_channels = self.output_channels = channels
        self.supports_half = self.supports_bfloat16 = half
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.seen = []

    def to(self, device, dtype):
        self.model.to(device, dtype)
        self.device, self.dtype = device, dtype
        return self

    @torch.inference_mode()
    def __call__(self, image):
        self.seen.append(tuple(image.shape))
        assert image.dtype == self.dtype
        return self.model(image).clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_network_runs_in_tiles_and_sees_what_it_can(run, picture, channels):
    descriptor = Descriptor(channels=channels)
    result, _ = run("TinySRUpscale", descriptor, picture, tile=32)
    expected = picture.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert torch.equal(result, expected)
    assert len(descriptor.seen) == 2 * 2 * (3 if channels == 1 else 1)
    assert {shape[1] for shape in descriptor.seen} == {channels}


@pytest.fixture
def on_a_gpu(nodes, monkeypatch):
    """Networks run as on a GPU as far as batches go."""
    engine = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".engine"))

    class OnGpu(engine.SpandrelEngine):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.takes_batches = not self.tiles_itself

    monkeypatch.setattr(engine, "SpandrelEngine", OnGpu)


def test_on_a_gpu_frames_that_fit_into_a_tile_go_together(run, picture, on_a_gpu):
    frames = torch.cat([picture, 1 - picture, picture / 2])
    mask = torch.zeros(2, 24, 40)
    mask[1] = 1
    alone, together = Descriptor(), Descriptor()
    expected = run("TinySRUpscale", alone, frames, mask=mask, mask_is="transparency", tile=40)
    result = run("TinySRUpscale", together, frames, mask=mask, mask_is="transparency", tile=64)
    assert [len(seen) for seen in (alone.seen, together.seen)] == [6, 2]
    assert [shape[0] for shape in together.seen] == [4, 2], "64 x 64 pixels hold four frames of 24 x 40"
    assert torch.equal(result[0], expected[0]) and torch.equal(result[1], expected[1])
    assert [bool(mask.all()) for mask in result[1]] == [False, True] * 3


def test_large_results_go_alone(run, picture, on_a_gpu):
    descriptor = Descriptor()
    run("TinySRUpscale", descriptor, picture.repeat(3, 1, 1, 1), tile=64, size="factor", factor=6)
    assert [shape[0] for shape in descriptor.seen] == [1] * 6


def test_half_precision_leaves_the_shared_network_as_it_is(run, picture):
    descriptor = Descriptor(half=True)
    descriptor.patcher = object()
    result, _ = run("TinySRUpscale", descriptor, picture, precision="bf16")
    assert descriptor.dtype == torch.float32 and descriptor.model.weight.dtype == torch.float32
    assert result.dtype == torch.float32
    expected = picture.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert torch.allclose(result, expected, atol=2**-8) and not torch.equal(result, expected)


def test_a_precision_that_a_network_cannot_do_is_refused(run, core, picture):
    with pytest.raises(core("errors").RequestError, match="cannot run in fp16"):
        run("TinySRUpscale", Descriptor(), picture, precision="fp16")


def test_what_is_no_network_from_picture_to_picture_is_refused(run, core, picture):
    with pytest.raises(core("errors").RequestError, match="is a str"):
        run("TinySRUpscale", "model", picture)
    with pytest.raises(core("errors").RequestError, match="4 channels"):
        run("TinySRUpscale", Descriptor(channels=4), picture)


def test_out_of_memory_halves_the_tile(run, core, picture):
    class Small(Descriptor):
        def __call__(self, image):
            if max(image.shape[2:]) > 120:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().__call__(image)

    wide = picture.repeat(1, 5, 5, 1)
    descriptor = Small(scale=2)
    result, _ = run("TinySRUpscale", descriptor, wide, tile=0)
    assert torch.equal(result, wide.repeat_interleave(2, 1).repeat_interleave(2, 2))

    class Broken(Descriptor):
        def __call__(self, image):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(core("errors").MemoryLimitError, match="Memory ran out"):
        run("TinySRUpscale", Broken(), picture)

    class Wrong(Descriptor):
        def __call__(self, image):
            raise RuntimeError("a bug of this network")

    with pytest.raises(RuntimeError, match="a bug of this network"):
        run("TinySRUpscale", Wrong(), picture)


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({"size": "network scale"}, (24, 40)),
        ({"size": "factor", "factor": 0.5}, (12, 20)),
        ({"size": "stretch", "width": 40, "height": 24}, (24, 40)),
    ],
)
def test_a_network_that_does_not_enlarge_runs_all_the_same(run, picture, changed, size):
    descriptor = Descriptor(scale=1)
    descriptor.model.weight.data *= 0.5
    result, _ = run("TinySRUpscale", descriptor, picture, **changed)
    assert result.shape == (2, *size, 3)
    assert result.max() < 0.51 and descriptor.seen


def test_half_precision_that_fails_becomes_fp32(run, picture, caplog):
    class Nan(Descriptor):
        def __call__(self, image):
            return super().__call__(image) * (1 if image.dtype == torch.float32 else float("nan"))

    class Refusing(Descriptor):
        def __call__(self, image):
            if image.dtype != torch.float32:
                raise RuntimeError("expected scalar type Float but found BFloat16")
            return super().__call__(image)

    expected = picture.repeat_interleave(3, 1).repeat_interleave(3, 2)
    for liar in (Nan(half=True), Refusing(half=True)):
        caplog.clear()
        assert torch.equal(run("TinySRUpscale", liar, picture, precision="bf16")[0], expected)
        assert [record.message.startswith("This upscale model fails in bfloat16") for record in caplog.records] == [
            True
        ]


def test_a_picture_that_does_not_fit_on_the_device_goes_there_in_tiles(run, picture, monkeypatch):
    move = torch.Tensor.to
    wide = picture.repeat(1, 3, 3, 1)

    def full(tensor, *args, **kwargs):
        if args == (torch.device("cpu"),) and tensor.shape[2:] == (72, 120):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return move(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", full)
    result, _ = run("TinySRUpscale", Descriptor(scale=2), wide, tile=64)
    assert torch.equal(result, wide.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_cancel_is_heard_within_a_tile_of_a_large_network(run, picture):
    import comfy.model_management as management

    class Slow(Descriptor):
        def __call__(self, image):
            management.interrupt_current_processing(True)
            return super().__call__(image)

    descriptor = Slow()
    with pytest.raises(management.InterruptProcessingException):
        run("TinySRUpscale", descriptor, picture)
    assert not descriptor.model._forward_pre_hooks, "the shared network must be as it was"


def test_a_network_that_tiles_by_itself_gets_the_whole_picture(run, picture):
    class Tiling:
        name = "INTERNAL"

    descriptor = Descriptor()
    descriptor.tiling = Tiling
    run("TinySRUpscale", descriptor, picture, tile=32)
    assert set(descriptor.seen) == {(1, 3, 24, 40)}


def test_the_loader_gives_a_real_descriptor(spandrel, model, picture):
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert (model.scale, model.input_channels, model.output_channels) == (2, 3, 3)
    assert model.patcher.model is model.model


def test_the_stock_node_gets_what_ours_gives(spandrel, model, run, picture):
    """Also at the edges, beyond which the picture is continued."""
    result = model(picture[:1].movedim(-1, 1))
    expected, _ = run("TinySRUpscale", model, picture[:1], precision="fp32")
    torch.testing.assert_close(result.movedim(1, -1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_packs_may_run_it_in_half_precision(spandrel, model, picture, dtype):
    planes = picture[:1].movedim(-1, 1)
    exact = model(planes)
    half = model.to(dtype=dtype)(planes.to(dtype))
    assert half.dtype == dtype
    assert torch.allclose(half.float(), exact, atol=2e-2)


def test_spandrel_recognises_our_files_and_no_others_change(spandrel, pack, comfyui, checkpoint):
    importlib.import_module(f"{pack.__name__}.nodes.interop").register_architecture()
    loaded = spandrel.ModelLoader().load_from_file(comfyui / "tinysr" / checkpoint)
    assert loaded.architecture.id == "TinySR" and loaded.scale == 2
    compact_arch = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG")
    compact = compact_arch.SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).state_dict()
    assert spandrel.ModelLoader().load_from_state_dict(compact).architecture.id == "Compact"


def test_a_second_copy_of_the_pack_may_register_too(spandrel, pack):
    interop = importlib.import_module(f"{pack.__name__}.nodes.interop")
    interop.register_architecture()
    interop.register_architecture()
    assert [a.architecture.id for a in spandrel.MAIN_REGISTRY].count("TinySR") == 1


def test_tinysr_from_the_stock_loader_is_run_exactly(spandrel, pack, run, model, comfyui, checkpoint, picture):
    importlib.import_module(f"{pack.__name__}.nodes.interop").register_architecture()
    stock = spandrel.ModelLoader().load_from_file(comfyui / "tinysr" / checkpoint)
    ours, _ = run("TinySRUpscale", model, picture)
    theirs, _ = run("TinySRUpscale", stock, picture)
    assert torch.equal(ours, theirs)


def test_without_spandrel_our_own_nodes_still_work(run, checkpoint, picture, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    bare = run("TinySRLoader", checkpoint=checkpoint)[0]
    result, _ = run("TinySRUpscale", bare, picture)
    assert result.shape == (2, 48, 80, 3)
