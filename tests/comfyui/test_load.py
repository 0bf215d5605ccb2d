import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch


def test_new_checkpoints_are_listed_without_a_restart(nodes, comfyui, make_checkpoint):
    def names():
        return nodes["TinySRLoader"].INPUT_TYPES()["required"]["checkpoint"][0]

    assert "mine-x2.safetensors" not in names()
    (comfyui / "tinysr").mkdir(exist_ok=True)
    (comfyui / "tinysr" / "notes.txt").write_text("not a checkpoint")
    path = make_checkpoint(comfyui / "tinysr" / "mine-x2.safetensors")
    os.utime(path.parent, (1, 1))  # the time stamp that ComfyUI's cache goes by may be too coarse to have moved
    assert "mine-x2.safetensors" in names()
    assert "notes.txt" not in names()
    path.unlink()


def test_what_was_fine_tuned_is_listed(nodes, make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".tinysr" / "models").mkdir(parents=True)
    make_checkpoint(tmp_path / ".tinysr" / "models" / "my-portraits-x2.safetensors")
    assert "my-portraits-x2.safetensors" in nodes["TinySRLoader"].INPUT_TYPES()["required"]["checkpoint"][0]


def test_shipped_checkpoints_are_listed(nodes, core):
    shipped = {path.name for path in core("model").shipped_folder().glob("*.safetensors")}
    assert shipped <= set(nodes["TinySRLoader"].INPUT_TYPES()["required"]["checkpoint"][0])


def test_the_loaded_network_is_the_one_in_the_file(nodes, core, comfyui, checkpoint, picture):
    model = nodes["TinySRLoader"]().load(checkpoint)[0]
    stored = core("model").read_checkpoint(comfyui / "tinysr" / checkpoint)
    assert model.scale == 2
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, torch.from_numpy(stored.tensors[name])), name


def test_a_replaced_file_has_another_fingerprint(nodes, comfyui, checkpoint, make_checkpoint):
    loader = nodes["TinySRLoader"]
    before = loader.IS_CHANGED(checkpoint)
    assert loader.IS_CHANGED(checkpoint) == before
    make_checkpoint(comfyui / "tinysr" / checkpoint, seed=1)
    assert loader.IS_CHANGED(checkpoint) != before


def test_detail_blends_with_the_twin(nodes, core, comfyui, checkpoint, make_checkpoint):
    vivid = make_checkpoint(
        comfyui / "tinysr" / "vivid-x2.safetensors", seed=1, twin=checkpoint.removesuffix(".safetensors")
    )
    loader = nodes["TinySRLoader"]
    calm, own = (core("model").read_checkpoint(comfyui / "tinysr" / name) for name in (checkpoint, vivid.name))
    model = loader().load(vivid.name, 0.25)[0]
    for name, tensor in model.model.state_dict().items():
        expected = core("model.blend").mixed([(calm.tensors[name], 0.75), (own.tensors[name], 0.25)])
        np.testing.assert_allclose(tensor, expected, atol=1e-6)
    before = loader.IS_CHANGED(vivid.name, 0.25)
    make_checkpoint(calm.path, seed=2)
    assert loader.IS_CHANGED(vivid.name, 0.25) != before, "a replaced twin must be read again"
    vivid.unlink()


def test_detail_without_a_twin_is_refused(nodes, core, checkpoint):
    assert nodes["TinySRLoader"].IS_CHANGED(checkpoint, 0.5) == nodes["TinySRLoader"].IS_CHANGED(checkpoint, 0.5)
    with pytest.raises(core("errors").CheckpointError, match="random-x2 has no faithful twin"):
        nodes["TinySRLoader"]().load(checkpoint, 0.5)


def test_a_missing_checkpoint_is_told_before_the_run(nodes, checkpoint):
    loader = nodes["TinySRLoader"]
    assert loader.VALIDATE_INPUTS(checkpoint) is True
    answer = loader.VALIDATE_INPUTS("gone-x2.safetensors")
    assert "gone-x2.safetensors" in answer and "models/tinysr" in answer and checkpoint in answer


def test_a_checkpoint_that_goes_between_validation_and_run(nodes, core):
    with pytest.raises(core("errors").CheckpointError, match="gone-x2"):
        nodes["TinySRLoader"]().load("gone-x2.safetensors")


def test_a_foreign_file_is_refused_with_a_sentence(nodes, core, comfyui):
    from safetensors.torch import save_file

    path = comfyui / "tinysr" / "esrgan.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({"conv_first.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(core("errors").CheckpointError, match="not a TinySR network"):
        nodes["TinySRLoader"]().load(path.name)
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(core("errors").CheckpointError, match="not a valid safetensors file"):
        nodes["TinySRLoader"]().load(path.name)
    path.unlink()


def test_the_pack_imports_little():
    """Measured in a fresh process after torch, as in ComfyUI, which has loaded torch and spandrel long before packs.

    benchmarks/results/comfyui.md has the time that it takes.
    """
    root_file = Path(__file__).parents[2] / "__init__.py"
    code = f"""
import importlib.util, sys
import numpy, PIL.Image, safetensors, torch, torch.nn.functional
spec = importlib.util.spec_from_file_location("pack", {str(root_file)!r})
sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
before = {{name.split(".")[0] for name in sys.modules}}
spec.loader.exec_module(module)
packages = {{name.split(".")[0] for name in sys.modules}} - before
print(*packages - set(sys.stdlib_module_names))
loaded = [name for name in ("comfy", "folder_paths", "spandrel", "nodes", "lightning", "tyro") if name in sys.modules]
assert not loaded, loaded
assert set(module.NODE_CLASS_MAPPINGS) == {{"TinySRLoader", "TinySRUpscale", "TinySRUpscaleVideo", "TinySRSharpenAA"}}
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [], "packages beyond the standard library and what ComfyUI has loaded"
