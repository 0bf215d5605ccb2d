"""The pack in a running ComfyUI, over HTTP. Needs COMFYUI_PATH, and the Python of that ComfyUI."""

import json
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.comfyui
WORKFLOWS = Path(__file__).parent / "workflows"
EXAMPLES = Path(__file__).parents[2] / "example_workflows"
UPSCALE = json.loads((WORKFLOWS / "Portrait x2.json").read_text())["3"]["inputs"]


@pytest.fixture(scope="module")
def picture(server):
    """example.png of 96 x 80 pixels in ComfyUI's input folder, as an array [80,96,3]."""
    coarse = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC)
    image.save(server.base / "input" / "example.png")
    return np.asarray(image, np.float32) / 255


@pytest.fixture(scope="module")
def video(server, picture):
    """example.mp4 of 6 frames in ComfyUI's input folder."""
    av = pytest.importorskip("av")
    with av.open(str(server.base / "input" / "example.mp4"), "w") as file:
        stream = file.add_stream("h264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for i in range(6):
            frame = (np.roll(picture, 4 * i, 1) * 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())


@pytest.fixture
def random_checkpoint(server, make_checkpoint):
    """A checkpoint in models/tinysr and in models/upscale_models."""
    path = make_checkpoint(server.base / "models" / "tinysr" / "random-x2.safetensors")
    stock = server.base / "models" / "upscale_models" / path.name
    stock.write_bytes(path.read_bytes())
    return path


@pytest.fixture
def upscale_tensor(server, random_checkpoint):
    """`upscale_tensor(array, **changed)`: an array [B,H,W,C] through Load TinySR and TinySR Upscale (fp32)."""

    def run(array, **changed):
        np.save(server.base / "input" / "in.npy", array)
        widgets = {**UPSCALE, "precision": "fp32", "upscale_model": ["1", 0], "image": ["2", 0], **changed}
        workflow = {
            "1": {"class_type": "TinySRLoader", "inputs": {"checkpoint": random_checkpoint.name}},
            "2": {"class_type": "TestLoadTensor", "inputs": {"name": "in.npy"}},
            "3": {"class_type": "TinySRUpscale", "inputs": widgets},
            "4": {"class_type": "TestSaveTensor", "inputs": {"name": "out.npy", "tensor": ["3", 0]}},
        }
        # ComfyUI remembers results by the inputs' names, not by what is in the files.
        workflow["2"]["inputs"]["name"] = f"in-{time.monotonic_ns()}.npy"
        (server.base / "input" / "in.npy").rename(server.base / "input" / workflow["2"]["inputs"]["name"])
        return np.load(server.run(workflow)[0])

    return run


@pytest.fixture
def reference(core, random_checkpoint):
    """`reference(pixels, alpha)`: what tinysr_core makes of arrays [1,C,H,W]."""
    upscaler = core("engines").load_upscaler(random_checkpoint, device="cpu", precision="fp32")
    return lambda pixels, alpha=None: core("pipeline").enhance(upscaler, pixels, alpha)


def planes(frame):
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None])


def test_the_portrait_examples(server, picture):
    for name in ("Portrait x2", "Portrait x2 sharpened"):
        (file,) = server.run(json.loads((WORKFLOWS / f"{name}.json").read_text()))
        assert Image.open(file).size == (192, 160), name


def test_the_fine_tuned_example(server, picture, random_checkpoint):
    workflow = json.loads((WORKFLOWS / "Your own checkpoint.json").read_text())
    workflow["3"]["inputs"]["checkpoint"] = random_checkpoint.name
    files = server.run(workflow)
    first, second = (np.asarray(Image.open(file)) for file in files)
    assert first.shape == second.shape == (160, 192, 3)
    assert (first != second).any()


def test_the_video_example(server, video):
    (file,) = server.run(json.loads((WORKFLOWS / "Video to 1080p in memory.json").read_text()))
    av = pytest.importorskip("av")
    with av.open(str(file)) as result:
        frames = list(result.decode(video=0))
    assert [(f.width, f.height) for f in frames] == [(1296, 1080)] * 6


def test_the_example_of_a_video_from_file_to_file(server, video):
    (file,) = server.run(json.loads((WORKFLOWS / "Video from file to file.json").read_text()))
    av = pytest.importorskip("av")
    with av.open(str(file)) as result:
        frames = list(result.decode(video=0))
        metadata = dict(result.metadata)
    assert [(f.width, f.height) for f in frames] == [(192, 160)] * 6
    assert "TinySRUpscaleVideo" in metadata["prompt"]


@pytest.mark.parametrize("name", sorted(path.stem for path in WORKFLOWS.glob("*.json")))
def test_example_workflows_are_the_tested_ones(server, name):
    """Each template of the front end, brought to API format, is the workflow of that name that is run above."""
    definitions = server.get("/object_info")
    example = json.loads((EXAMPLES / f"{name}.json").read_text())
    missing = {node["type"] for node in example["nodes"]} - {*definitions, "Note", "MarkdownNote"}
    if missing:
        pytest.skip(f"this ComfyUI has no {missing.pop()}")
    links = {link[0]: [str(link[1]), link[2]] for link in example["links"]}
    found = {}
    for node in example["nodes"]:
        if node["type"] in ("Note", "MarkdownNote", "ImageCompare"):
            continue
        known = {name for group in definitions[node["type"]]["input"].values() for name in group}
        linked = {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        widgets = [slot["name"] for slot in node["inputs"] if "widget" in slot]
        values = dict(zip(widgets, node.get("widgets_values", []), strict=True))
        values = {name: value for name, value in values.items() if name in known}
        found[str(node["id"])] = {"class_type": node["type"], "inputs": {**values, **linked}}
    assert found == json.loads((WORKFLOWS / f"{name}.json").read_text())


def test_the_examples_compare(server, picture):
    """Each example of pictures ends in the core's *Compare Images*; web/tinysr.js has a substitute where it is new."""
    for file in EXAMPLES.glob("*.json"):
        example = json.loads(file.read_text())
        compared = [node for node in example["nodes"] if node["type"] == "ImageCompare"]
        assert len(compared) == (0 if file.stem == "Video from file to file" else 1)
        assert all(len(node["properties"]["tinysr_previews"]) == 2 for node in compared)
    if "ImageCompare" not in server.get("/object_info"):
        return
    workflow = json.loads((WORKFLOWS / "Portrait x2.json").read_text())
    workflow["9"] = {
        "class_type": "ImageCompare",
        "inputs": {"image_a": ["2", 0], "image_b": ["3", 0], "compare_view": {"__value__": ["", ""]}},
    }
    assert len(server.run(workflow)) == 3


def test_results_equal_those_of_the_core(upscale_tensor, reference, picture):
    result = upscale_tensor(picture[None])
    expected, _ = reference(planes(picture))
    np.testing.assert_allclose(planes(result[0]), expected, atol=1e-5)


def test_rgba_and_grey(upscale_tensor, reference, picture):
    alpha = (picture[..., :1] > 0.5).astype(np.float32)
    result = upscale_tensor(np.concatenate([picture, alpha], -1)[None])
    expected = np.concatenate(reference(planes(picture), planes(alpha)), 1)
    np.testing.assert_allclose(planes(result[0]), expected, atol=1e-5)
    grey = upscale_tensor(picture[None, ..., :1])
    expected, _ = reference(planes(picture[..., :1]))
    np.testing.assert_allclose(planes(grey[0]), expected, atol=1e-5)


def test_a_batch_of_16_frames(upscale_tensor, reference, picture):
    frames = np.stack([np.roll(picture, 5 * i, 1) for i in range(16)])
    result = upscale_tensor(frames)
    assert result.shape == (16, 160, 192, 3)
    for i in (0, 7, 15):
        np.testing.assert_allclose(planes(result[i]), reference(planes(frames[i]))[0], atol=1e-5)


def test_the_stock_nodes_run_our_checkpoint(server, reference, picture, random_checkpoint):
    """One tile of the stock node covers the picture, so that it computes the same."""
    workflow = {
        "1": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": random_checkpoint.name}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["1", 0], "image": ["2", 0]}},
        "4": {"class_type": "TestSaveTensor", "inputs": {"name": "stock.npy", "tensor": ["3", 0]}},
        "5": {"class_type": "TinySRLoader", "inputs": {"checkpoint": random_checkpoint.name}},
        "6": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["5", 0], "image": ["2", 0]}},
        "7": {"class_type": "TestSaveTensor", "inputs": {"name": "stock-node.npy", "tensor": ["6", 0]}},
        "8": {
            "class_type": "TinySRUpscale",
            "inputs": {**UPSCALE, "precision": "fp32", "upscale_model": ["1", 0], "image": ["2", 0]},
        },
        "9": {"class_type": "TestSaveTensor", "inputs": {"name": "stock-loader.npy", "tensor": ["8", 0]}},
    }
    expected, _ = reference(planes(picture))
    files = server.run(workflow)
    assert len(files) == 3
    for file in files:
        np.testing.assert_allclose(planes(np.load(file)[0]), expected, atol=1e-5, err_msg=file.name)


def test_every_widget_may_be_linked(server, picture, video):
    definitions = server.get("/object_info")
    workflow = {
        "image": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "video": {"class_type": "LoadVideo", "inputs": {"file": "example.mp4"}},
    }
    links = {"UPSCALE_MODEL": ["TinySRLoader", 0], "IMAGE": ["image", 0], "MASK": ["image", 1], "VIDEO": ["video", 0]}
    for name in ("TinySRLoader", "TinySRUpscale", "TinySRSharpenAA", "TinySRUpscaleVideo"):
        inputs = workflow.setdefault(name, {"class_type": name, "inputs": {}})["inputs"]
        for group in ("required", "optional"):
            for widget, (kind, options) in definitions[name]["input"].get(group, {}).items():
                if not isinstance(kind, list) and kind in links:
                    inputs[widget] = links[kind]
                    continue
                value = options.get("default", kind[0] if isinstance(kind, list) else None)
                workflow[f"{name} {widget}"] = {"class_type": "TestValue", "inputs": {"text": json.dumps(value)}}
                inputs[widget] = [f"{name} {widget}", 0]
    workflow["TinySRSharpenAA"]["inputs"]["image"] = ["TinySRUpscale", 0]
    workflow["save"] = {
        "class_type": "TestSaveTensor",
        "inputs": {"name": "linked.npy", "tensor": ["TinySRSharpenAA", 0]},
    }
    names = {path.name for path in server.run(workflow)}
    assert "linked.npy" in names and any(name.endswith(".mp4") for name in names)
    assert np.load(server.base / "output" / "linked.npy").shape == (1, 160, 192, 3)


def test_a_missing_checkpoint_is_told(server, picture):
    workflow = json.loads((WORKFLOWS / "Portrait x2.json").read_text())
    workflow["1"]["inputs"]["checkpoint"] = "gone-x2.safetensors"
    with pytest.raises(
        RuntimeError, match=r"There is no TinySR checkpoint 'gone-x2.safetensors'. Put it into models/tinysr"
    ):
        server.run(workflow)


def test_a_wrong_checkpoint_is_told(server, picture):
    from safetensors.torch import save_file

    save_file({"conv_first.weight": torch.zeros(8, 3, 3, 3)}, server.base / "models" / "tinysr" / "esrgan.safetensors")
    workflow = json.loads((WORKFLOWS / "Portrait x2.json").read_text())
    workflow["1"]["inputs"]["checkpoint"] = "esrgan.safetensors"
    with pytest.raises(RuntimeError, match=r"esrgan.safetensors.*not a TinySR network.*CheckpointError"):
        server.run(workflow)


def test_a_replaced_checkpoint_is_read_again(server, upscale_tensor, make_checkpoint, random_checkpoint, picture):
    before = upscale_tensor(picture[None])
    make_checkpoint(random_checkpoint, seed=5)
    assert np.abs(upscale_tensor(picture[None]) - before).max() > 0.01


def test_cancel_stops_within_a_tile(server, upscale_tensor, random_checkpoint):
    big = np.random.default_rng(0).random((8, 512, 512, 3), np.float32)
    np.save(server.base / "input" / "big.npy", big)
    workflow = {
        "1": {"class_type": "TinySRLoader", "inputs": {"checkpoint": "tinysr-portrait-x2.safetensors"}},
        "2": {"class_type": "TestLoadTensor", "inputs": {"name": "big.npy"}},
        "3": {"class_type": "TinySRUpscale", "inputs": {**UPSCALE, "image": ["2", 0], "tile": 128}},
        "4": {"class_type": "TestSaveTensor", "inputs": {"name": "big-out.npy", "tensor": ["3", 0]}},
    }
    prompt = server.start(workflow)
    time.sleep(3)
    server.post("/interrupt", {})
    with pytest.raises(RuntimeError, match="execution_interrupted"):
        server.finish(prompt, limit=60)
    assert upscale_tensor(big[:1, :64, :64]).shape == (1, 128, 128, 3), "the next run must work"


@pytest.mark.slow
def test_a_picture_of_5000_by_3000(upscale_tensor, reference):
    """Only borders of tiles are compared, since the whole takes memory; tiles differ from those of the reference."""
    coarse = np.random.default_rng(0).random((1, 300, 500, 3), np.float32)
    picture = coarse.repeat(10, 1).repeat(10, 2)
    result = upscale_tensor(picture)
    assert result.shape == (1, 6000, 10000, 3)
    expected, _ = reference(planes(picture[0]))
    np.testing.assert_allclose(planes(result[0]), expected, atol=1e-5)


def test_help_translations_and_templates_are_served(server):
    nodes = ("TinySRLoader", "TinySRUpscale", "TinySRUpscaleVideo", "TinySRSharpenAA")
    for node in nodes:
        with urllib.request.urlopen(f"{server.url}/extensions/ComfyUI-TinySR/docs/{node}.md", timeout=10) as answer:
            assert answer.read().decode().startswith("# ")
    translations = server.get("/i18n")
    for language in ("en", "zh", "zh-TW", "ja", "fr"):
        assert set(nodes) <= set(translations[language]["nodeDefs"])
    templates = set(server.get("/workflow_templates")["ComfyUI-TinySR"])
    assert templates == {path.stem for path in WORKFLOWS.glob("*.json")}
    for name in templates:
        with urllib.request.urlopen(
            f"{server.url}/api/workflow_templates/ComfyUI-TinySR/{quote(name)}.jpg", timeout=10
        ) as jpg:
            assert jpg.read(2) == b"\xff\xd8"
