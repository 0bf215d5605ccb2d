"""Everything TinySR asks of ComfyUI; no other file of the pack imports it.

ComfyUI is imported inside the functions, so that the pack can be imported and tested without it.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from ..tinysr_core.errors import MemoryLimitError, RequestError
from ..tinysr_core.model import shipped_folder, user_folder

MODEL_FOLDER = "tinysr"
"""Checkpoints live in `models/tinysr`; the same word is the key in extra_model_paths.yaml."""

DEVICES = ("auto", "gpu", "cpu")


def checkpoint_names() -> list[str]:
    """Names of all checkpoints a user can choose, relative to their folders; new files show without a restart."""
    return _folder_paths().get_filename_list(MODEL_FOLDER)


def checkpoint_path(name: str) -> Path | None:
    """The file behind a name of `checkpoint_names`; None if it is gone."""
    found = _folder_paths().get_full_path(MODEL_FOLDER, name)
    return None if found is None else Path(found)


def device(choice: str) -> torch.device:
    """The device for one of `DEVICES`; "auto" is the one ComfyUI computes on.

    Raises:
        RequestError: a GPU is asked for, and ComfyUI has none.
    """
    import comfy.model_management as management

    if choice == "cpu":
        return torch.device("cpu")
    found = management.get_torch_device()
    if choice == "gpu" and found.type == "cpu":
        raise RequestError("ComfyUI has no GPU here (or was started with --cpu); set the device to auto or cpu.")
    return found


def precision(choice: str, target: torch.device) -> str:
    """`choice`, but fp32 for "auto" on a graphics card that ComfyUI would not trust with half precision."""
    import comfy.model_management as management

    return "fp32" if choice == "auto" and not management.should_use_fp16(target) else choice


def make_room(memory: int, target: torch.device) -> None:
    """Have ComfyUI unload other models until `memory` bytes are free on `target`."""
    import comfy.model_management as management

    management.free_memory(memory, target)


def new_image(batch: int, height: int, width: int, channels: int) -> torch.Tensor:
    """An IMAGE [B,H,W,C] to be filled, on the device and in the dtype that ComfyUI wants.

    Raises:
        MemoryLimitError: it would not fit into memory. (Linux would grant it, and end ComfyUI when it is filled.)
    """
    import comfy.model_management as management

    place = management.intermediate_device()
    intermediate_dtype = getattr(management, "intermediate_dtype", None)  # float32 before ComfyUI 0.17
    dtype = torch.float32 if intermediate_dtype is None else intermediate_dtype()
    needed, free = batch * height * width * channels * dtype.itemsize, management.get_free_memory(place)
    if needed > free:
        raise MemoryLimitError(
            f"The result ({batch} x {width} x {height} pixels) needs {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; ask for a smaller size, or process fewer frames at a time."
        )
    return torch.empty(batch, height, width, channels, dtype=dtype, device=place)


def progress_bar(frames: int) -> Callable[[int, int, int], None]:
    """The node's progress bar as a function of (frame, done, total): `done` of `total` tiles of frame number `frame`.

    Calling it raises ComfyUI's interrupt if the user pressed Cancel.
    """
    import comfy.model_management as management
    import comfy.utils

    bar = comfy.utils.ProgressBar(frames)

    def show(frame: int, done: int, total: int) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(frame * total + done, frames * total)

    return show


def patcher(module: nn.Module) -> object:
    """What ComfyUI's own nodes manage the memory of `module` with; they need it since 0.28."""
    import comfy.model_management as management
    import comfy.model_patcher

    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(module, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())


def show(message: str, node: str | None) -> None:
    """A line on the node in the graph, and in ComfyUI's log."""
    logging.getLogger("TinySR").info(message)
    with suppress(Exception):  # only newer versions show text on nodes, and no server runs in some scripts
        from server import PromptServer

        PromptServer.instance.send_progress_text(message, node)


def warn(message: str) -> None:
    """A line in ComfyUI's log."""
    logging.getLogger("TinySR").warning(message)


def _folder_paths():
    """ComfyUI's `folder_paths`, with TinySR's folders in it: extra_model_paths first, then ours."""
    import folder_paths

    for folder in (Path(folder_paths.models_dir, MODEL_FOLDER), user_folder(), shipped_folder()):
        folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]  # added with no extensions, which means any file
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, {".safetensors"})
    return folder_paths
