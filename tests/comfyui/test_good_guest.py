"""In ComfyUI's process the pack changes nothing that belongs to everybody."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CODE = """
import importlib.util, json, logging, os, random, signal, sys, threading, warnings
from pathlib import Path
import numpy as np
import PIL.Image
import torch

root, models = Path(sys.argv[1]), Path(sys.argv[2])

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

# What ComfyUI and its other packs have in this process.
sys.modules.update(load("fake_comfyui", root / "tests/comfyui/fake_comfyui.py").fake_modules(models))
for name in ("nodes", "tests", "training", "gimp_plugin"):
    sys.modules[name] = load(f"their_{name}", models / "pack.py")
PIL.Image.init()
try:
    import spandrel
except Exception:  # ComfyUI goes on without it, too
    pass

def state():
    backends = torch.backends
    return {
        "environment": dict(os.environ),
        "path": sys.path,
        "warnings": repr(warnings.filters),
        "signals": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "hooks": repr([sys.excepthook, threading.excepthook, sys.meta_path, sys.path_hooks]),
        "logging": [logging.root.level, len(logging.root.handlers), logging.raiseExceptions],
        "formats": [sorted(PIL.Image.OPEN), sorted(PIL.Image.SAVE), PIL.Image.MAX_IMAGE_PIXELS],
        "numpy": [np.geterr(), str(np.get_printoptions()), str(np.random.get_state())],
        "random": hash(random.getstate()),
        "torch threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch flags": [
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), str(torch.get_default_dtype()),
            torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
            backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic, backends.cudnn.allow_tf32,
            backends.cuda.matmul.allow_tf32, backends.mkldnn.enabled,
        ],
        "torch random": torch.get_rng_state().sum().item(),
        "their modules": [repr(sys.modules.get(name)) for name in ("nodes", "tests", "training", "gimp_plugin")],
        "folder": os.getcwd(),
    }

before = state()
pack = load("pack_x", root / "__init__.py")
core = importlib.import_module("pack_x.tinysr_core.engines")
importlib.import_module("pack_x.nodes.engine").cache_folder = lambda: models
picture = torch.rand(1, 40, 30, 3, generator=torch.Generator().manual_seed(0))
loader, node = (pack.NODE_CLASS_MAPPINGS[f"TinySR{name}"]() for name in ("Loader", "Upscale"))
(model,) = loader.load("tinysr-portrait-x2.safetensors")
for precision in ("auto", "fp32", "bf16"):
    result, _ = node.upscale(model, picture, "factor", 1.7, 0, 0, 1.0, 0, "cpu", precision)
assert result.shape == (1, 68, 51, 3)
after = state()
print(json.dumps({name: [str(before[name]), str(after[name])] for name in before if before[name] != after[name]}))
try:
    import openvino
    assert hasattr(openvino, "convert_model")
except ImportError:
    pass
"""


def test_nothing_global_is_changed(tmp_path: Path) -> None:
    (tmp_path / "pack.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
    command = [sys.executable, "-c", CODE, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
