"""What comes through links: ComfyUI does not check it, the nodes do."""

import importlib
import inspect

import pytest
import torch


@pytest.fixture
def upscale(run, model):
    return lambda image, **changed: run("TinySRUpscale", model, image, **{"precision": "fp32", **changed})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 100.5),
        ("width", -5),
        ("width", "wide"),
        ("height", 10**6),
        ("factor", float("nan")),
        ("factor", 0),
        ("megapixels", "four"),
        ("precision", "fp8"),
        ("device", "cuda:0"),
        ("size", "huge"),
        ("mask_is", 3),
        ("divisible_by", 0),
        ("mask", torch.zeros(1, 0, 4)),
        ("mask", torch.zeros(1, 1, 4, 4)),
        ("mask", "mask"),
        ("match", torch.zeros(8, 8, 3)),
    ],
)
def test_a_wrong_value_is_named(upscale, core, picture, name, value):
    with pytest.raises(core("errors").RequestError, match=f"^{name} "):
        upscale(picture, **{name: value})


@pytest.mark.parametrize(
    "image", [torch.rand(8, 8, 3), torch.rand(1, 0, 8, 3), torch.zeros(1, 8, 8, 3, dtype=torch.uint8), [1, 2]]
)
@pytest.mark.parametrize("node", ["TinySRUpscale", "TinySRSharpenAA"])
def test_a_wrong_picture_is_named(run, model, core, node, image):
    linked = (model, image) if node == "TinySRUpscale" else (image,)
    with pytest.raises(core("errors").RequestError, match=r"^image "):
        run(node, *linked)


@pytest.mark.parametrize(("name", "value"), [("radius", -1.0), ("percent", 1.5), ("device", "tpu"), ("sharpen", "no")])
def test_wrong_values_of_sharpen(run, core, picture, name, value):
    with pytest.raises(core("errors").RequestError, match=f"^{name} "):
        run("TinySRSharpenAA", picture, **{name: value})


def test_whole_floats_are_whole_numbers(upscale, picture):
    image, _ = upscale(picture, size="stretch", width=50.0, height=40.0, tile=64.0)
    assert image.shape == (2, 40, 50, 3)


def test_a_linked_checkpoint(nodes, core, checkpoint):
    """ComfyUI validates and fingerprints a linked value as None, and hands its value to the node."""
    loader = nodes["TinySRLoader"]
    assert set(inspect.signature(loader.VALIDATE_INPUTS).parameters) == {"checkpoint"}
    assert loader.VALIDATE_INPUTS(checkpoint=None) is True
    assert checkpoint in loader.IS_CHANGED(checkpoint=None, detail=None)
    assert checkpoint in loader.IS_CHANGED(checkpoint=checkpoint, detail=None)
    with pytest.raises(core("errors").CheckpointError, match=r"no checkpoint 7\..*models/tinysr"):
        loader().load(7)
    with pytest.raises(core("errors").RequestError, match=r"^detail is 2\."):
        loader().load(checkpoint, 2)


def test_a_linked_checkpoint_that_is_replaced_has_another_fingerprint(nodes, comfyui, checkpoint, make_checkpoint):
    loader = nodes["TinySRLoader"]
    before = loader.IS_CHANGED(checkpoint=None)
    make_checkpoint(comfyui / "tinysr" / checkpoint, seed=1)
    assert loader.IS_CHANGED(checkpoint=None) != before


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_damaged_pixel_stays_one_pixel(run, upscale, picture, bad, caplog):
    damaged = picture.clone()
    damaged[0, 20, 30] = bad
    good, _ = upscale(picture)
    image, _ = upscale(damaged)
    assert image.isfinite().all()
    assert torch.equal(image[1], good[1])
    torch.testing.assert_close(image[0, :10, :20], good[0, :10, :20], atol=0.05, rtol=0)
    assert [record.message for record in caplog.records if "NaN" in record.message] == [
        "1 of 2 frames of image had NaN or infinite values; they count as 0 or 1."
    ]
    assert run("TinySRSharpenAA", damaged)[0].isfinite().all()
    assert upscale(picture, mask=damaged[..., 0])[1].isfinite().all()


def test_more_gpus_are_offered_where_comfyui_knows_them(nodes, core, monkeypatch):
    import comfy.model_management as management

    host = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".host"))
    monkeypatch.setattr(
        management, "get_gpu_device_options", lambda: ["default", "cpu", "gpu:0", "gpu:1"], raising=False
    )
    monkeypatch.setattr(management, "resolve_gpu_device_option", lambda name: torch.device(f"cuda:{name[-1]}"), False)
    assert nodes["TinySRUpscale"].INPUT_TYPES()["required"]["device"][0] == ["auto", "gpu", "cpu", "gpu:0", "gpu:1"]
    assert host.device("gpu:1") == torch.device("cuda:1")


def test_a_pack_that_is_there_twice_is_told_once(nodes, comfyui, monkeypatch, caplog):
    import sys
    from types import ModuleType

    host = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".host"))
    stock = ModuleType("nodes")
    stock.NODE_CLASS_MAPPINGS = {}
    monkeypatch.setitem(sys.modules, "nodes", stock)
    host.prepare("here", "TinySRLoader")
    assert not caplog.records and (comfyui / "tinysr").is_dir()
    stock.NODE_CLASS_MAPPINGS = nodes
    host.prepare("here", "TinySRLoader")
    assert [record.message.startswith("TinySR is installed twice: here ") for record in caplog.records] == [True]


def test_categories_are_those_of_the_core(nodes, monkeypatch):
    import sys
    from types import ModuleType

    host = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".host"))
    stock = ModuleType("nodes")
    stock.VAELoader = type("VAELoader", (), {"CATEGORY": "loaders"})
    monkeypatch.setitem(sys.modules, "nodes", stock)
    assert host.category("model/loaders", "loaders") == "loaders"
    stock.VAELoader.CATEGORY = "model/loaders"
    assert host.category("model/loaders", "loaders") == "model/loaders"


def test_no_home_folder_is_no_problem(nodes, run, model, picture, monkeypatch):
    from pathlib import Path

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert nodes["TinySRLoader"].INPUT_TYPES()["required"]["checkpoint"][0]
    host = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".host"))
    monkeypatch.setattr(host, "core_cache_folder", no_home)
    assert run("TinySRUpscale", model, picture)[0].shape == (2, 48, 80, 3)


def test_files_of_macos_are_not_listed(nodes, comfyui, checkpoint):
    hidden = comfyui / "tinysr" / f"._{checkpoint}"
    hidden.write_bytes(b"resource fork")
    assert hidden.name not in nodes["TinySRLoader"].INPUT_TYPES()["required"]["checkpoint"][0]
    hidden.unlink()
