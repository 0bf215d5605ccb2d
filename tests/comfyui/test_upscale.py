import importlib
import inspect
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def upscale(run, model):
    """`upscale(image, **changed)` runs the node in fp32, with all widgets but the changed ones at their defaults."""
    return lambda image, **changed: run("TinySRUpscale", model, image, **{"precision": "fp32", **changed})


@pytest.fixture
def reference(core, comfyui, checkpoint):
    """`reference(pixels, alpha=None, **options)` is what the core makes of planes [1,C,H,W]."""

    def run(pixels, alpha=None, **options):
        upscaler = core("engines").load_upscaler(comfyui / "tinysr" / checkpoint, device="cpu", precision="fp32")
        return core("pipeline").enhance(upscaler, pixels, alpha, **options)

    return run


def planes(frame):
    return frame.movedim(-1, 0)[None]


def test_it_gives_what_the_core_gives(upscale, reference, picture):
    image, mask = upscale(picture)
    assert image.shape == (2, 48, 80, 3) and image.dtype == torch.float32
    for before, after in zip(picture, image, strict=True):
        expected, _ = reference(planes(before))
        torch.testing.assert_close(planes(after), expected, atol=1e-5, rtol=0)
    assert mask.shape == (1, 48, 80) and not mask.any()


def test_inputs_are_not_written_to(upscale, picture):
    mask = torch.rand(2, 24, 40)
    rgba = torch.cat([picture, torch.rand(2, 24, 40, 1).round()], -1)
    before = rgba.clone(), mask.clone()
    upscale(rgba, mask=mask, size="factor", factor=1.3)
    upscale(rgba[..., :3], mask=mask, mask_is="transparency")
    assert torch.equal(rgba, before[0]) and torch.equal(mask, before[1])


def test_frames_do_not_influence_each_other(upscale, picture):
    together, _ = upscale(picture)
    alone, _ = upscale(picture[1:])
    assert torch.equal(together[1:], alone)


def test_rgba_comes_back_as_rgba(upscale, reference, picture):
    alpha = (torch.rand(2, 24, 40, 1) > 0.5).float()
    image, mask = upscale(torch.cat([picture, alpha], -1))
    assert image.shape == (2, 48, 80, 4)
    colours, opacity = reference(planes(picture[0]), planes(alpha[0]))
    torch.testing.assert_close(planes(image[0]), torch.cat([colours, opacity], 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(mask, 1 - image[..., 3])


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.7])
def test_an_opaque_picture_stays_opaque(upscale, picture, factor):
    """SaveImage cuts off fractions: an alpha of 0.9999998 would be saved as 254."""
    image, mask = upscale(torch.cat([picture, torch.ones(2, 24, 40, 1)], -1), size="factor", factor=factor)
    assert (image[..., 3] == 1).all() and not mask.any()


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_comes_back_grey(upscale, picture, channels):
    image, mask = upscale(picture[..., :channels])
    assert image.shape == (2, 48, 80, channels)
    assert mask.shape == (2 if channels == 2 else 1, 48, 80)


def test_five_channels_are_refused(upscale, core):
    with pytest.raises(core("errors").RequestError, match="5 channels"):
        upscale(torch.rand(1, 8, 8, 5))


def test_half_precision_images_come_back_in_the_type_comfyui_wants(upscale, picture, monkeypatch):
    import comfy.model_management as management

    exact, _ = upscale(picture.half().float())
    assert torch.equal(upscale(picture.half())[0], exact)
    monkeypatch.setattr(management, "intermediate_dtype", lambda: torch.float16, raising=False)
    half, _ = upscale(picture.half())
    assert half.dtype == torch.float16
    assert torch.equal(half, exact.half())


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({"size": "factor", "factor": 1.5}, (36, 60)),
        ({"size": "factor", "factor": 0.5}, (12, 20)),
        ({"size": "fit", "width": 100, "height": 100}, (60, 100)),
        ({"size": "fit", "width": 0, "height": 33}, (33, 55)),
        ({"size": "fill", "width": 50, "height": 50}, (50, 50)),
        ({"size": "fill", "width": 101, "height": 37}, (37, 101)),
        ({"size": "fill", "width": 100, "height": 0}, (60, 100)),
        ({"size": "stretch", "width": 31, "height": 77}, (77, 31)),
        ({"size": "stretch", "width": 0, "height": 30}, (30, 50)),
        ({"size": "megapixels", "megapixels": 0.015}, (95, 158)),
        ({"size": "network scale", "divisible_by": 7}, (49, 77)),
        ({"size": "factor", "factor": 1.3, "divisible_by": 2}, (32, 52)),
        ({"size": "fit", "width": 101, "height": 101, "divisible_by": 2}, (60, 100)),
        ({"size": "fill", "width": 51, "height": 50, "divisible_by": 8}, (48, 48)),
        ({"size": "stretch", "width": 31, "height": 77, "divisible_by": 16}, (80, 32)),
        ({"size": "megapixels", "megapixels": 0.015, "divisible_by": 64}, (64, 128)),
        ({"size": "factor", "factor": 0.05, "divisible_by": 8}, (8, 8)),
    ],
)
def test_size_modes(upscale, picture, changed, size):
    image, mask = upscale(picture, **changed, mask=torch.rand(2, 24, 40))
    assert image.shape == (2, *size, 3) and mask.shape == (2, *size)
    assert image.min() >= 0 and image.max() <= 1


def test_exact_sizes_are_resized_as_the_core_does(upscale, reference, picture, core):
    image, _ = upscale(picture, size="stretch", width=57, height=41)
    expected, _ = reference(
        planes(picture[1]), finish=core("postprocess").Finish(core("postprocess").ExactSize(57, 41))
    )
    torch.testing.assert_close(planes(image[1]), expected, atol=1e-5, rtol=0)


def test_fill_cuts_off_evenly(upscale, picture):
    whole, _ = upscale(picture, size="fit", width=0, height=50)
    middle, _ = upscale(picture, size="fill", width=50, height=50)
    left = (whole.shape[2] - 50) // 2
    assert torch.equal(middle, whole[:, :, left : left + 50])


def test_the_size_of_another_picture(upscale, core, picture):
    image, _ = upscale(picture, size="match size", match=torch.rand(1, 50, 60, 3))
    assert image.shape == (2, 50, 60, 3)
    assert torch.equal(image, upscale(picture, size="fill", width=60, height=50)[0])
    with pytest.raises(core("errors").RequestError, match='Connect one to "match"'):
        upscale(picture, size="match size")


def test_a_480p_video_becomes_1080p(nodes):
    """854 x 480 is not quite 16:9: without the divisor the height is 1079, which video encoders refuse."""
    size = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".size"))

    def kept(divisible_by):
        return size.SizeRequest("fit", 2, 1920, 1080, 4, divisible_by).sizing(480, 854, 2).kept

    assert kept(1) == (1079, 1920)
    assert kept(2) == (1080, 1920)
    assert kept(64) == (1024, 1920)


def test_proportions_are_kept_for_any_divisor(upscale):
    """A ramp keeps its slope: 60 x 100 pixels cover 64 x 128 at 1.28 times the size, and the rest is cut off."""
    ramp = torch.linspace(0.2, 0.8, 100)[None, None, :, None].expand(1, 60, 100, 3).contiguous()
    image, _ = upscale(ramp, size="factor", factor=1.5, divisible_by=64)
    assert image.shape == (1, 64, 128, 3)
    slope = (image[0, 30, 100, 0] - image[0, 30, 20, 0]) / 80
    assert abs(slope - 0.6 / 99 / 1.28) < 0.0003


def test_a_size_without_sides_is_refused(upscale, core, picture):
    for mode in ("fit", "fill", "stretch"):
        with pytest.raises(core("errors").RequestError, match="width or a height"):
            upscale(picture, size=mode)


def test_a_selection_does_not_change_the_picture(upscale, picture):
    mask = torch.zeros(24, 40)
    mask[6:12, 10:20] = 1
    plain, _ = upscale(picture)
    image, grown = upscale(picture, mask=mask)
    assert torch.equal(image, plain)
    assert grown.shape == (1, 48, 80)
    assert (grown[:, 14:22, 24:36] > 0.99).all() and grown[:, :8].max() < 0.01 and grown.min() >= 0


def test_a_transparency_mask_hides_its_colours(upscale, reference, picture):
    mask = torch.zeros(1, 24, 40)
    mask[:, :, 20:] = 1
    dark = picture * (1 - mask[..., None])  # what a cut-out often has under its transparency
    image, grown = upscale(dark, mask=mask, mask_is="transparency")
    assert image.shape == (2, 48, 80, 3) and grown.shape == (2, 48, 80)
    expected, alpha = reference(planes(dark[1]), 1 - mask[None])
    torch.testing.assert_close(planes(image[1]), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(grown[1], 1 - alpha[0, 0])
    fringe, _ = upscale(dark)
    assert image[:, :, 36:40].mean() > fringe[:, :, 36:40].mean() + 0.02


def test_the_mask_of_an_opaque_picture_from_load_image(upscale, picture):
    """Load Image gives 64 x 64 zeros where a picture has no alpha."""
    plain, _ = upscale(picture)
    image, mask = upscale(picture, mask=torch.zeros(1, 64, 64), mask_is="transparency")
    torch.testing.assert_close(image, plain)
    assert mask.shape == (2, 48, 80) and not mask.any()


def test_tiles_leave_no_seam(upscale):
    random = torch.Generator().manual_seed(1)
    image = torch.rand(1, 150, 170, 3, generator=random)
    whole, _ = upscale(image, tile=4096)
    for tile in (32, 64, 96):
        torch.testing.assert_close(upscale(image, tile=tile)[0], whole, atol=1e-5, rtol=0)


def test_a_tile_too_small_is_refused(upscale, core, picture):
    with pytest.raises(core("errors").RequestError, match="too small"):
        upscale(picture, tile=8)


def test_a_gpu_that_is_not_there_is_told(upscale, core, picture):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(core("errors").RequestError, match="no GPU"):
        upscale(picture, device="gpu")


def test_progress_counts_frames_and_tiles(upscale, picture, monkeypatch):
    import comfy.utils

    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: seen.append((value, total)))
    upscale(picture, tile=32)
    assert seen[-1] == (4, 4)
    assert all(later >= earlier for (earlier, _), (later, _) in pairwise(seen))


def test_cancel_stops_before_the_next_tile(upscale, picture, monkeypatch):
    import comfy.model_management as management
    import comfy.utils

    seen = []

    def press_cancel(value, total, *_, **__):
        seen.append(value)
        management.interrupt_current_processing(True)

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", press_cancel)
    with pytest.raises(management.InterruptProcessingException):
        upscale(picture.repeat(1, 8, 8, 1), tile=32)
    assert seen == [0]


def test_cancel_is_heard_while_a_mask_or_a_frame_is_resized(upscale, picture, monkeypatch):
    import comfy.model_management as management

    for changed in ({"size": "factor", "factor": 0.5}, {"mask": torch.rand(2, 24, 40)}):
        management.interrupt_current_processing(True)
        with pytest.raises(management.InterruptProcessingException):
            upscale(picture, **changed)


def test_a_result_that_cannot_fit_is_refused_before_work_starts(upscale, core, picture, monkeypatch):
    import comfy.model_management as management

    monkeypatch.setattr(
        management, "get_free_memory", lambda device, torch_free_too=False: (9, 9) if torch_free_too else 9
    )
    with pytest.raises(core("errors").MemoryLimitError, match="2 x 80 x 48 pixels"):
        upscale(picture)


@pytest.mark.parametrize(("channels", "changed"), [(3, {}), (1, {}), (4, {}), (3, {"size": "factor", "factor": 0.5})])
def test_the_memory_that_work_takes_counts_too(upscale, core, monkeypatch, channels, changed):
    """A result that just fits leaves no memory for the network's."""
    import comfy.model_management as management

    image = torch.rand(1, 256, 256, channels)
    result = upscale(image, **changed)[0]
    free = 1.2 * result.nbytes
    monkeypatch.setattr(
        management,
        "get_free_memory",
        lambda device, torch_free_too=False: (free, free) if torch_free_too else free,
    )
    with pytest.raises(core("errors").MemoryLimitError, match="GB are free"):
        upscale(image, **changed)


def test_a_container_has_less_memory_than_its_machine(upscale, core, nodes, picture, monkeypatch):
    host = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".host"))
    monkeypatch.setattr(host, "available_bytes", lambda: 9)
    with pytest.raises(core("errors").MemoryLimitError, match="2 x 80 x 48 pixels"):
        upscale(picture)


def test_an_empty_batch_gives_an_empty_batch(upscale):
    assert upscale(torch.rand(0, 8, 8, 3))[0].shape == (0, 16, 16, 3)


def test_widgets_and_arguments_agree(nodes):
    for node in nodes.values():
        inputs = node.INPUT_TYPES()
        declared = [*inputs["required"], *inputs.get("optional", {}), *inputs.get("hidden", {})]
        arguments = inspect.signature(getattr(node, node.FUNCTION)).parameters
        assert declared == [name for name in arguments if name != "self"]
        for name, (kind, options) in {**inputs["required"], **inputs.get("optional", {})}.items():
            assert options["tooltip"].endswith("."), name
            assert isinstance(kind, (str, list))
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)


def test_auto_is_what_the_core_takes_on_a_cpu(upscale, core, comfyui, checkpoint, picture):
    image, _ = upscale(picture, device="cpu", precision="auto")
    upscaler = core("engines").load_upscaler(comfyui / "tinysr" / checkpoint, device="cpu")
    torch.testing.assert_close(planes(image[1]), upscaler.upscale(planes(picture[1])), atol=1e-5, rtol=0)


def test_a_node_keeps_its_engine_while_the_weights_stay(nodes, model, picture, monkeypatch):
    engine_module = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".engine"))
    made, load_engine = [], engine_module.load_engine
    monkeypatch.setattr(
        engine_module, "load_engine", lambda *a, **k: made.append(k["precision"]) or load_engine(*a, **k)
    )
    node = nodes["TinySRUpscale"]()
    widgets = {
        "size": "network scale",
        "factor": 2,
        "width": 0,
        "height": 0,
        "megapixels": 4,
        "tile": 0,
        "device": "cpu",
    }

    def run(precision="fp32"):
        return node.upscale(model, picture, precision=precision, **widgets)[0]

    before = run()
    assert torch.equal(run(), before) and made == ["fp32"]
    run("auto")
    assert made == ["fp32", "auto"]
    with torch.no_grad():
        model.model.tail.bias += 0.125  # as a node that patches models does
    inside = (before > 0) & (before < 0.875)
    torch.testing.assert_close(run()[inside], before[inside] + 0.125, atol=1e-5, rtol=0)
    assert made == ["fp32", "auto", "fp32"]


def test_bf16_is_close(upscale, picture):
    exact, _ = upscale(picture, precision="fp32")
    close, _ = upscale(picture, precision="bf16")
    torch.testing.assert_close(close, exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("mask_is", ["selection", "transparency"])
def test_image_and_mask_may_lie_on_different_devices(run, nodes, monkeypatch, mask_is):
    """Torch's meta device stands for a GPU: it has no values, so that what asks for them is left out."""
    node = importlib.import_module(nodes["TinySRUpscale"].__module__)
    enlarge = importlib.import_module(node.__name__.replace(".upscale", ".enlarge"))
    meta = torch.device("meta")

    def enhanced(upscaler, pixels, alpha, finish, progress):
        assert alpha is None or alpha.device == pixels.device == meta
        size = finish.size.height, finish.size.width
        return pixels.new_empty(1, 3, *size), None if alpha is None else alpha.new_empty(1, 1, *size)

    monkeypatch.setattr(enlarge, "enhance", enhanced)
    monkeypatch.setattr(node.frames, "cleaned", lambda batch, name, at_once=1: batch.split(at_once))
    monkeypatch.setattr(node.host, "new_image", lambda *shape: torch.empty(shape[:4], device=meta))
    network = SimpleNamespace(model=torch.nn.Identity(), scale=2, input_channels=3, output_channels=3)
    network.device, network.dtype = torch.device("cpu"), torch.float32
    frames = torch.empty(2, 24, 40, 3, device=meta)
    image, mask = run("TinySRUpscale", network, frames, mask=torch.rand(2, 24, 40), mask_is=mask_is)
    assert image.shape == (2, 48, 80, 3) and mask.shape == (2, 48, 80)
    assert image.device == mask.device == meta


def test_devices_without_autocast(core):
    """torch refuses to switch autocast off on DirectML's device, and on Apple's before 2.5."""
    network = core("model.network")
    for kind in ("privateuseone", "mps", "cpu"):
        with network._no_autocast(torch.device(kind)):
            pass
    with torch.autocast("cpu", torch.bfloat16), network._no_autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_size_beyond_the_network_is_told(upscale, picture, texts, caplog):
    caplog.set_level("INFO", "TinySR")
    image, _ = upscale(picture, size="factor", factor=4.5, unique_id="3")
    assert image.shape == (2, 108, 180, 3)
    (text,) = texts
    assert text == "×4.5 is reached by networks for ×2, then ×2 and a bicubic resize." and text in caplog.messages
    upscale(picture, size="factor", factor=1.5, unique_id="3")
    assert len(texts) == 1


def test_what_clean_chose_is_told(run, picture, texts):
    """The shipped default looks at the picture. A batch without frames has none to look at."""
    (model,) = run("TinySRLoader")
    run("TinySRUpscale", model, picture, unique_id="3")
    assert [text.split(":")[0] for text in texts] in (["clean 0"], ["clean 1"])
    assert run("TinySRUpscale", model, picture[:0])[0].shape == (0, 48, 80, 3)
