import pytest
import torch


@pytest.fixture
def finish(run):
    """`finish(image, **changed)` runs the node with all widgets but the changed ones at their defaults."""
    return lambda image, **changed: run("TinySRSharpenAA", image, **changed)[0]


def planes(frame):
    return frame.movedim(-1, 0)[None]


def test_the_defaults_are_the_papers(finish, core, picture):
    postprocess = core("postprocess")
    expected = postprocess.anti_alias(postprocess.sharpen(planes(picture[1])))
    torch.testing.assert_close(planes(finish(picture)[1]), expected, atol=1e-6, rtol=0)
    assert (finish(picture) - picture).abs().max() > 0.005


def test_each_step_has_its_switch(finish, core, picture):
    postprocess = core("postprocess")
    sharp = finish(picture, anti_alias=False, radius=2.0, percent=150, threshold=3)
    torch.testing.assert_close(planes(sharp[0]), postprocess.sharpen(planes(picture[0]), 2.0, 150, 3))
    smooth = finish(picture, sharpen=False, blur=1.0, amount=0.5)
    torch.testing.assert_close(planes(smooth[0]), postprocess.anti_alias(planes(picture[0]), 1.0, 0.5))


@pytest.mark.parametrize("off", [{"sharpen": False, "anti_alias": False}, {"percent": 0, "amount": 0.0}])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_strength_0_is_the_identity(finish, off, channels):
    image = torch.rand(2, 24, 40, channels)
    assert torch.equal(finish(image, **off), image)


def test_transparency_stays_and_its_colours_stay_hidden(finish, picture):
    alpha = torch.zeros(2, 24, 40, 1)
    alpha[:, :, :20] = 1
    grey = torch.full_like(picture, 0.5)
    image = finish(torch.cat([grey * alpha, alpha], -1))
    assert torch.equal(image[..., 3:], alpha)
    torch.testing.assert_close(image[:, :, :20, :3], grey[:, :, :20], atol=1e-5, rtol=0)


def test_inputs_are_not_written_to(finish, picture):
    before = picture.clone()
    finish(picture)
    assert torch.equal(picture, before)


def test_half_precision_images(finish, picture, monkeypatch):
    import comfy.model_management as management

    exact = finish(picture.half().float())
    assert torch.equal(finish(picture.half()), exact)
    monkeypatch.setattr(management, "intermediate_dtype", lambda: torch.float16, raising=False)
    assert torch.equal(finish(picture.half()), exact.half())


def test_cancel_stops_before_the_next_frame(finish, picture, monkeypatch):
    import comfy.model_management as management
    import comfy.utils

    seen = []

    def press_cancel(value, total, *_, **__):
        seen.append((value, total))
        management.interrupt_current_processing(True)

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", press_cancel)
    with pytest.raises(management.InterruptProcessingException):
        finish(picture)
    assert seen == [(0, 2)]


def test_cancel_is_heard_within_a_frame(finish, core, monkeypatch):
    import comfy.model_management as management

    asked = []

    def interrupted_at_the_third():
        asked.append(None)
        if len(asked) == 3:
            raise management.InterruptProcessingException

    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", interrupted_at_the_third)
    monkeypatch.setattr(core("postprocess.slabs"), "SLAB", 1)
    with pytest.raises(management.InterruptProcessingException):
        finish(torch.rand(1, 300, 40, 3))
    assert len(asked) == 3


def test_a_frame_that_does_not_fit_on_a_gpu_is_finished_on_the_cpu(finish, picture, nodes, monkeypatch, caplog):
    import sys

    node = sys.modules[nodes["TinySRSharpenAA"].__module__]
    expected, sharpen, calls = finish(picture), node.unsharp_mask, []

    def small(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return sharpen(*args, **kwargs)

    monkeypatch.setattr(node, "unsharp_mask", small)
    assert torch.equal(finish(picture), expected)
    assert len(calls) == 3 and "does not fit" in caplog.text
