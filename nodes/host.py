"""Everything TinySR asks of ComfyUI; no other file of the pack imports it.

ComfyUI is imported inside the functions, so that the pack can be imported and tested without it.
"""

import json
import logging
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..tinysr_core.errors import MemoryLimitError, RequestError
from ..tinysr_core.model import cache_folder as core_cache_folder
from ..tinysr_core.model import shipped_folder, user_folder
from ..tinysr_core.util import available_bytes

MODEL_FOLDER = "tinysr"
"""Checkpoints live in `models/tinysr`; the same word is the key in extra_model_paths.yaml."""


def prepare(pack: str, node_id: str) -> None:
    """At start, inside ComfyUI: make the folder for checkpoints; warn where another copy of the pack is installed.

    Args:
        pack: the folder of this copy.
        node_id: one of its nodes.
    """
    if "folder_paths" in sys.modules:
        _make_folder(Path(sys.modules["folder_paths"].models_dir, MODEL_FOLDER))
    other = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {}).get(node_id)
    if other is not None:
        loaded = getattr(sys.modules.get(other.__module__), "__file__", "another folder")
        warn(f"TinySR is installed twice: {pack} is used instead of {loaded}. Remove one of them, and restart ComfyUI.")


def category(new: str, old: str) -> str:
    """Where ComfyUI has nodes of a kind: `new` since it sorted its nodes anew, `old` before."""
    stock = getattr(sys.modules.get("nodes"), "VAELoader", None)
    return old if getattr(stock, "CATEGORY", "") == "loaders" else new


def devices() -> list[str]:
    """What a user can choose: "gpu" is the one ComfyUI computes on; where there are several, also "gpu:0" and so on."""
    import comfy.model_management as management

    options = getattr(management, "get_gpu_device_options", list)()  # since 0.30
    return ["auto", "gpu", "cpu", *(name for name in options if name.startswith("gpu:"))]


def checkpoint_names() -> list[str]:
    """Names of all checkpoints a user can choose, relative to their folders; new files show without a restart."""
    names = _folder_paths().get_filename_list(MODEL_FOLDER)
    return [name for name in names if not Path(name).name.startswith(".")]  # macOS puts ._ files beside others


def checkpoint_path(name: str) -> Path | None:
    """The file behind a name of `checkpoint_names`; None if it is gone."""
    found = _folder_paths().get_full_path(MODEL_FOLDER, name)
    return None if found is None else Path(found)


def device(choice: str) -> torch.device:
    """The device for one of `devices`; "auto" is the one ComfyUI computes on.

    Raises:
        RequestError: a GPU is asked for, and ComfyUI has none.
    """
    import comfy.model_management as management

    if choice == "cpu":
        return torch.device("cpu")
    found = management.resolve_gpu_device_option(choice) if ":" in choice else management.get_torch_device()
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


def free_memory(place: torch.device) -> float:
    """Bytes that are free on a device; for the CPU, also within the limit of a container."""
    import comfy.model_management as management

    free = management.get_free_memory(place)
    limit = available_bytes() if place.type == "cpu" else None
    return free if limit is None else min(free, limit)


def new_image(batch: int, height: int, width: int, channels: int, working: int) -> torch.Tensor:
    """An IMAGE [B,H,W,C] to be filled, on the device and in the dtype that ComfyUI wants.

    Args:
        working: bytes of main memory that are needed beside it.

    Raises:
        MemoryLimitError: memory does not suffice. (Linux would grant it, and end ComfyUI when it is filled.)
    """
    import comfy.model_management as management

    place = management.intermediate_device()
    intermediate_dtype = getattr(management, "intermediate_dtype", None)  # float32 before ComfyUI 0.17
    dtype = torch.float32 if intermediate_dtype is None else intermediate_dtype()
    size = batch * height * width * channels * dtype.itemsize
    main = torch.device("cpu")
    needs = {place: size, main: working} if place != main else {main: size + working}
    for where, needed in needs.items():
        free = free_memory(where)
        if needed > free:
            raise MemoryLimitError(
                f"The result ({batch} x {width} x {height} pixels) needs {needed / 1e9:.1f} GB of memory, and "
                f"{free / 1e9:.1f} GB are free; ask for a smaller size, or process fewer frames at a time."
            )
    return torch.empty(batch, height, width, channels, dtype=dtype, device=place)


def require_memory(needed: int, what: str) -> None:
    """Refuse work that main memory does not suffice for.

    Raises:
        MemoryLimitError: it takes more than `needed` bytes.
    """
    free = free_memory(torch.device("cpu"))
    if needed > free:
        raise MemoryLimitError(
            f"{what} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; ask for a smaller size."
        )


def video_source(video: Any) -> tuple[Path | BytesIO, float, float]:
    """What to read a VIDEO from, and the part of it that counts: first second, and how many (0: to the end).

    Raises:
        RequestError: it is no VIDEO.
    """
    if not hasattr(video, "get_stream_source"):
        raise RequestError(f"video is a {type(video).__name__}; connect a VIDEO, for example of Load Video.")
    source = video.get_stream_source()
    window = getattr(video, "get_active_trim_window", None)  # since 0.10
    start, duration = window() if window else (0.0, 0.0)
    return Path(source) if isinstance(source, str) else source, start, duration


def new_output(prefix: str, suffix: str) -> tuple[Path, dict[str, str]]:
    """A file in ComfyUI's output folder that is not there yet, and how ComfyUI names it to the front end."""
    import folder_paths

    output = folder_paths.get_output_directory()
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    path = Path(folder, f"{name}_{counter:05}_{suffix}")
    return path, {"filename": path.name, "subfolder": subfolder, "type": "output"}


def video_from_file(path: Path) -> Any:
    """A VIDEO."""
    from comfy_api.input_impl import VideoFromFile

    return VideoFromFile(str(path))


def workflow_metadata(prompt: Any, extra: dict[str, Any] | None) -> dict[str, str]:
    """What a file remembers of the workflow that made it; nothing if ComfyUI was started so."""
    from comfy.cli_args import args

    if args.disable_metadata:
        return {}
    tags = {**(extra or {}), **({} if prompt is None else {"prompt": prompt})}
    return {name: json.dumps(value) for name, value in tags.items()}


def show_text(text: str, node_id: str | None) -> None:
    """A line on the node while it runs."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if node_id is not None and getattr(server, "instance", None) is not None:
        server.instance.send_progress_text(text, node_id)


def progress_bar(frames: int) -> Callable[[int, int, int], None]:
    """The node's progress bar as a function of (frame, done, total): `done` of `total` steps of frame number `frame`.

    Calling it raises ComfyUI's interrupt if the user pressed Cancel.
    """
    import comfy.utils

    bar = comfy.utils.ProgressBar(frames)
    shown: tuple[int, int] | None = None

    def show(frame: int, done: int, total: int) -> None:
        nonlocal shown
        check_cancelled()
        reached = frame * total + done, frames * total
        if reached != shown:
            bar.update_absolute(*reached)
            shown = reached

    return show


def check_cancelled() -> None:
    """Raise ComfyUI's interrupt if the user pressed Cancel."""
    import comfy.model_management as management

    management.throw_exception_if_processing_interrupted()


def patcher(module: nn.Module) -> object:
    """What ComfyUI's own nodes manage the memory of `module` with; they need it since 0.28."""
    import comfy.model_management as management
    import comfy.model_patcher

    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(module, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())


def warn(message: str) -> None:
    """A line in ComfyUI's log."""
    logging.getLogger("TinySR").warning(message)


def cache_folder() -> Path | None:
    """Where engines keep what they measure; None where the user has no home folder."""
    return _if_home(core_cache_folder)


def _folder_paths() -> Any:
    """ComfyUI's `folder_paths`, with TinySR's folders in it: extra_model_paths first, then ours."""
    import folder_paths

    for folder in (Path(folder_paths.models_dir, MODEL_FOLDER), _if_home(user_folder), shipped_folder()):
        if folder is not None:
            folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]  # added with no extensions, which means any file
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, {".safetensors"})
    return folder_paths


def _if_home(folder: Callable[[], Path]) -> Path | None:
    """A folder in the user's home; None where there is no home, as in some containers and services."""
    try:
        return folder()
    except RuntimeError:
        return None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a read-only installation works, too
        warn(f"The folder {path} could not be made: {error}")
