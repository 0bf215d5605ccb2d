"""*TinySR Upscale Video*: from file to file."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

av = pytest.importorskip("av")


@pytest.fixture
def clip(tmp_path):
    """A VIDEO of 6 frames of 40 x 24 pixels."""
    from comfy_api.input_impl import VideoFromFile

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 40, 24, "yuv420p"
        for number in range(6):
            frame = np.full((24, 40, 3), (200, 40 * number, 60), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())
    return VideoFromFile(str(path))


@pytest.fixture
def output(tmp_path, monkeypatch):
    """ComfyUI's output folder."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path / "output"))
    return tmp_path / "output"


def decoded(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)], dict(file.metadata)


def test_a_video_from_file_to_file(run, model, clip, output):
    answer = run("TinySRUpscaleVideo", model, clip, prompt={"1": "a"}, extra_pnginfo={"workflow": [2]})
    video, path = answer["result"]
    assert video.get_stream_source() == path
    assert answer["ui"]["images"] == [{"filename": Path(path).name, "subfolder": "TinySR", "type": "output"}]
    assert Path(path).parent == output / "TinySR"
    frames, metadata = decoded(path)
    assert [frame.shape for frame in frames] == [(48, 80, 3)] * 6
    assert json.loads(metadata["prompt"]) == {"1": "a"} and json.loads(metadata["workflow"]) == [2]
    again = run("TinySRUpscaleVideo", model, clip)["result"][1]
    assert again != path and Path(path).is_file()


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        ({"size": "fit", "width": 75, "height": 75}, (46, 74, 3)),
        ({"size": "fill", "width": 50, "height": 50, "divisible_by": 8}, (48, 48, 3)),
        ({"codec": "ffv1", "size": "stretch", "width": 51, "height": 33, "divisible_by": 1}, (33, 51, 3)),
        ({"codec": "prores", "quality": 0}, (48, 80, 3)),
        ({"codec": "h265"}, (48, 80, 3)),
    ],
)
def test_sizes_and_codecs(run, model, clip, output, changed, shape):
    path = run("TinySRUpscaleVideo", model, clip, **changed)["result"][1]
    assert {frame.shape for frame in decoded(path)[0]} == {shape}


def test_frames_are_what_the_picture_node_makes(run, model, clip, output):
    small, _ = decoded(clip.get_stream_source())
    image = torch.from_numpy(np.stack(small)).float() / 255
    expected, _ = run("TinySRUpscale", model, image, precision="fp32")
    path = run("TinySRUpscaleVideo", model, clip, codec="ffv1", precision="fp32")["result"][1]
    frames, _ = decoded(path)
    assert np.abs(np.stack(frames) - 255 * expected.numpy()).mean() < 1.5


def test_cancel_keeps_what_is_done(run, model, clip, output, core, monkeypatch):
    import comfy.model_management as management

    streaming = core("video.streaming")
    monkeypatch.setattr(streaming, "SEGMENT", 2)
    asked = []

    def interrupted_later():
        asked.append(None)
        if len(asked) == 13:
            raise management.InterruptProcessingException

    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", interrupted_later)
    with pytest.raises(management.InterruptProcessingException):
        run("TinySRUpscaleVideo", model, clip)
    (parts,) = (output / "TinySR").iterdir()
    assert parts.name.startswith(".tinysr-")
    kept = len(list(parts.glob("*.nut")))
    assert 0 < kept < 3
    path = run("TinySRUpscaleVideo", model, clip)["result"][1]
    assert len(decoded(path)[0]) == 6
    assert [entry.name for entry in (output / "TinySR").iterdir()] == [Path(path).name]


def test_a_cropped_video_is_refused(run, model, clip, core, output, monkeypatch):
    """Since 2026-11, a VIDEO may be cropped; its file is not."""
    monkeypatch.setattr(type(clip), "get_dimensions", lambda self: (20, 24))
    with pytest.raises(core("errors").RequestError, match="cropped from 40 x 24 to 20 x 24"):
        run("TinySRUpscaleVideo", model, clip)


def test_what_is_no_video_is_told(run, model, core, output, tmp_path):
    with pytest.raises(core("errors").RequestError, match=r"^video is a Tensor"):
        run("TinySRUpscaleVideo", model, torch.zeros(1, 8, 8, 3))


def test_a_frame_that_does_not_fit_is_told(run, model, clip, output, core, monkeypatch):
    import comfy.model_management as management

    monkeypatch.setattr(
        management, "get_free_memory", lambda device, torch_free_too=False: (9, 9) if torch_free_too else 9
    )
    with pytest.raises(core("errors").MemoryLimitError, match="80 x 48 pixels"):
        run("TinySRUpscaleVideo", model, clip)


def test_all_frames_are_cleaned_alike(run, clip, output):
    """With clean=auto, a picture is looked at; frames of a video would flicker if each was."""
    auto, photo = (run("TinySRLoader", clean=clean)[0] for clean in ("auto", "1"))
    results = [run("TinySRUpscaleVideo", model, clip, codec="ffv1")["result"][1] for model in (auto, photo)]
    first, second = (np.stack(decoded(path)[0]) for path in results)
    assert np.abs(first.astype(int) - second).max() <= 1


def test_what_is_blended_in_counts_when_a_run_is_resumed(run, nodes):
    engine = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".engine"))
    auto, none = (run("TinySRLoader", clean=clean)[0] for clean in ("auto", "0"))
    assert engine.weights_key(auto) != engine.weights_key(none)


def test_a_size_beyond_the_network_is_told(run, model, clip, output, texts, caplog):
    caplog.set_level("INFO", "TinySR")
    run("TinySRUpscaleVideo", model, clip, size="factor", factor=4.5, unique_id="3")
    (note,) = (message for message in caplog.messages if "×4.5" in message)
    assert note in texts
    assert texts[-1].startswith("6 of 6 frames") and texts[-1].endswith(note)


def test_progress_tells_speed_and_time_left(run, model, clip, output, texts):
    run("TinySRUpscaleVideo", model, clip, unique_id="3")
    assert texts[0] == "0 of 6 frames"
    assert re.fullmatch(r"6 of 6 frames, \d+\.\d\d frames/s, 0:00 left", texts[-1])
