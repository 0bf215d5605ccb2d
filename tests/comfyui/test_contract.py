"""Everything of ComfyUI that the pack calls, with the arguments it gives. Fails with the name of what has changed.

Runs against the fake and, with COMFYUI_PATH, against the real one. The lists were also compared with these files of
0.38.1, of which no whole checkout was at hand: comfy/model_management.py, comfy/utils.py, folder_paths.py, server.py,
comfy_api/latest/_input_impl/video_types.py.
"""

import ast
import importlib
import inspect
import os
from pathlib import Path

import pytest

HOST = Path(__file__).parents[2] / "nodes" / "host.py"

CALLS = [
    ("comfy.model_management", "get_torch_device", 0),
    ("comfy.model_management", "intermediate_device", 0),
    ("comfy.model_management", "unet_offload_device", 0),
    ("comfy.model_management", "free_memory", 2),
    ("comfy.model_management", "get_free_memory", 1),
    ("comfy.model_management", "should_use_fp16", 1),
    ("comfy.model_management", "throw_exception_if_processing_interrupted", 0),
    ("comfy.utils", "ProgressBar", 1),
    ("comfy.utils", "ProgressBar.update_absolute", 3),
    ("comfy.model_patcher", "ModelPatcher", 3),
    ("folder_paths", "add_model_folder_path", 2),
    ("folder_paths", "get_filename_list", 1),
    ("folder_paths", "get_full_path", 2),
    ("folder_paths", "get_output_directory", 0),
    ("folder_paths", "get_save_image_path", 2),
    ("comfy_api.input_impl", "VideoFromFile", 1),
    ("comfy_api.input_impl", "VideoFromFile.get_stream_source", 1),
    ("comfy_api.input_impl", "VideoFromFile.get_dimensions", 1),
]
"""Module, name, and how many arguments are given (with `self`, for methods)."""

MAY_BE_MISSING = [
    ("comfy.model_management", "intermediate_dtype", 0),  # since 0.17
    ("comfy.model_management", "get_gpu_device_options", 0),  # since 0.30
    ("comfy.model_management", "resolve_gpu_device_option", 1),  # since 0.30
    ("comfy.model_patcher", "CoreModelPatcher", 3),  # since 0.11
    ("comfy_api.input_impl", "VideoFromFile.get_active_trim_window", 1),  # since 0.10
]

VALUES = [("folder_paths", "models_dir"), ("folder_paths", "folder_names_and_paths"), ("comfy.cli_args", "args")]


def looked_up(module: str, name: str):
    found = importlib.import_module(module)
    for part in filter(None, name.split(".")):
        found = getattr(found, part)
    return found


def takes(function, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(("module", "name", "count"), CALLS, ids=str)
def test_a_function_is_there_and_takes_what_it_is_given(comfyui, module, name, count):
    assert takes(looked_up(module, name), count), f"{module}.{name} no longer takes {count} arguments"


@pytest.mark.parametrize(("module", "name", "count"), MAY_BE_MISSING, ids=str)
def test_what_newer_versions_have(comfyui, module, name, count):
    *owners, name = name.split(".")
    function = getattr(looked_up(module, ".".join(owners)), name, None)
    assert function is None or takes(function, count), f"{module}.{name} no longer takes {count} arguments"


@pytest.mark.parametrize(("module", "name"), VALUES)
def test_a_value_is_there(comfyui, module, name):
    looked_up(module, name)


def test_patchers_are_made_by_keyword(comfyui):
    module = importlib.import_module("comfy.model_patcher")
    for name in ("ModelPatcher", "CoreModelPatcher"):
        if hasattr(module, name):
            inspect.signature(getattr(module, name)).bind(None, load_device=None, offload_device=None)


def test_the_server_shows_texts():
    """The module is read, not imported: that would load all nodes."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        pytest.skip("needs a real ComfyUI: set COMFYUI_PATH to a checkout")
    tree = ast.parse(Path(checkout, "server.py").read_text(encoding="utf-8"))
    (server,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "PromptServer"]
    methods = {node.name: node.args for node in server.body if isinstance(node, ast.FunctionDef)}
    assert [argument.arg for argument in methods["send_progress_text"].args][:3] == ["self", "text", "node_id"]


def test_the_list_is_complete():
    """Every attribute that host.py reads of a module of ComfyUI is listed above."""
    owners = {"management", "folder_paths", "_folder_paths()", "comfy", "comfy.utils", "comfy.model_patcher", "video"}
    listed = {part for _, name, _ in CALLS + MAY_BE_MISSING for part in name.split(".")} | {name for _, name in VALUES}
    listed |= {"utils", "model_patcher"}  # modules themselves
    used = set()
    for node in ast.walk(ast.parse(HOST.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners:
            used.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("comfy", "comfy_api"):
            used |= {alias.name for alias in node.names}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            owner, name = node.args[:2]
            if ast.unparse(owner) in owners and isinstance(name, ast.Constant):
                used.add(name.value)
    assert used <= listed, f"not listed: {sorted(used - listed)}"
    assert {name.split(".")[0] for _, name, _ in CALLS} <= used | {"ModelPatcher", "ProgressBar"}
