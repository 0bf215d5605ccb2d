"""ComfyUI for the tests: the real one where COMFYUI_PATH names a checkout, a small fake of it elsewhere.

With a checkout, run the tests with the Python of its environment:
    COMFYUI_PATH=path/to/ComfyUI path/to/its/python -m pytest tests/comfyui
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
CHECKOUT = os.environ.get("COMFYUI_PATH")


def load_by_path(name: str, path: Path) -> ModuleType:
    """Import a file under any name: the pack as ComfyUI does it, and what lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ComfyUI that can be imported from; returns its models folder, which is empty."""
    models = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        if CHECKOUT:
            patch.syspath_prepend(CHECKOUT)
            patch.setattr(sys, "argv", ["main.py"] + ([] if torch.cuda.is_available() else ["--cpu"]))
            importlib.import_module("comfy.options").enable_args_parsing()
            patch.setattr(importlib.import_module("folder_paths"), "models_dir", str(models))
        else:
            fake = load_by_path("fake_comfyui", Path(__file__).with_name("fake_comfyui.py"))
            for name, module in fake.fake_modules(models).items():
                patch.setitem(sys.modules, name, module)
        yield models


@pytest.fixture(scope="session")
def pack(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The pack, imported the way ComfyUI does it: by path, under a name made of the path. It keeps what its engines
    measure in a folder of the tests."""
    module = load_by_path(str(ROOT).replace(".", "_x_"), ROOT / "__init__.py")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for user, name in (("nodes.host", "core_cache_folder"), ("tinysr_core.engines.options", "cache_folder")):
            patch.setattr(importlib.import_module(f"{module.__name__}.{user}"), name, lambda: cache)
        yield module


@pytest.fixture(scope="session")
def core(pack: ModuleType):
    """`core("errors")` is the module of that name in the pack's own copy of tinysr_core."""
    return lambda name: importlib.import_module(f"{pack.__name__}.tinysr_core.{name}")


@pytest.fixture(scope="session")
def nodes(pack: ModuleType) -> dict[str, type]:
    """Node classes by id."""
    return pack.NODE_CLASS_MAPPINGS


@pytest.fixture(scope="session")
def run(nodes: dict[str, type]):
    """`run(id, *linked, **changed)` runs a fresh node with what is linked to it; other widgets have their defaults."""

    def run_node(node_id: str, *linked: Any, **changed: Any) -> Any:
        node = nodes[node_id]
        inputs = node.INPUT_TYPES()
        declared = {**inputs["required"], **inputs.get("optional", {})}.items()
        defaults = {name: o.get("default", kind[0] if isinstance(kind, list) else None) for name, (kind, o) in declared}
        widgets = {name: value for name, value in defaults.items() if value is not None}
        return getattr(node(), node.FUNCTION)(*linked, **{**widgets, **changed})

    return run_node


@pytest.fixture
def make_checkpoint(core):
    """`make_checkpoint(path, seed=0, twin=None, **config)` writes a checkpoint with random weights."""

    def make(path: Path, seed: int = 0, twin: str | None = None, **config) -> Path:
        config = core("model").ModelConfig(**{"channels": 16, "blocks": 3, **config})
        random = np.random.default_rng(seed)
        tensors = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in config.shapes.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        core("model").write_checkpoint(path, config, tensors, {"title": "random", "twin": twin})
        return path

    return make


@pytest.fixture
def checkpoint(comfyui: Path, make_checkpoint) -> Iterator[str]:
    """Name of a x2 checkpoint in ComfyUI's models folder."""
    path = make_checkpoint(comfyui / "tinysr" / "random-x2.safetensors")
    yield path.name
    path.unlink()


@pytest.fixture
def model(run, checkpoint: str):
    """An UPSCALE_MODEL from *Load TinySR*."""
    return run("TinySRLoader", checkpoint=checkpoint)[0]


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """The texts that nodes have shown."""
    shown = []
    instance = SimpleNamespace(send_progress_text=lambda text, node_id: shown.append(text))
    fake = ModuleType("server")
    fake.PromptServer = SimpleNamespace(instance=instance)
    monkeypatch.setitem(sys.modules, "server", fake)
    return shown


@pytest.fixture
def picture() -> torch.Tensor:
    """IMAGE [2,24,40,3] of smooth noise."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 6, 10, generator=random)
    return torch.nn.functional.interpolate(coarse, (24, 40), mode="bilinear").movedim(1, -1).contiguous()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A running ComfyUI with the pack; see comfyui_server.py."""
    if not CHECKOUT:
        pytest.skip("needs a real ComfyUI: set COMFYUI_PATH to a checkout, and use the Python of its environment")
    module = load_by_path("comfyui_server", Path(__file__).with_name("comfyui_server.py"))
    started = module.Server(CHECKOUT, tmp_path_factory.mktemp("comfyui"))
    yield started
    started.close()
