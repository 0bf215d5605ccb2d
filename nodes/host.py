"""All calls into ComfyUI. No other file of the pack imports it.

ComfyUI is imported inside the functions, so that the pack can be imported and tested without it.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..tinysr_core.errors import MemoryLimitError, RequestError
from ..tinysr_core.model import cache_folder as core_cache_folder
from ..tinysr_core.model import shipped_folder, user_folder
from ..tinysr_core.util import available_bytes

MODEL_FOLDER = "tinysr"
"""Checkpoints live in `models/tinysr`; the same word is the key in extra_model_paths.yaml."""


def prepare(pack: str, node_id: str) -> None:
    """At start, inside ComfyUI: create the folder for checkpoints, and warn if another copy of the pack is installed.

    Args:
        pack: the path of this copy.
        node_id: the id of one of its nodes.
    """
    if "folder_paths" in sys.modules:
        _make_folder(Path(sys.modules["folder_paths"].models_dir, MODEL_FOLDER))
    other = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {}).get(node_id)
    if other is not None:
        loaded = getattr(sys.modules.get(other.__module__), "__file__", "another folder")
        warn(f"TinySR is installed twice: {pack} is used instead of {loaded}. Remove one of them and restart ComfyUI.")


def category(new: str, old: str) -> str:
    """The category of a kind of nodes: `new` since ComfyUI renamed its categories, `old` before that."""
    stock = getattr(sys.modules.get("nodes"), "VAELoader", None)
    return old if getattr(stock, "CATEGORY", "") == "loaders" else new


def devices() -> list[str]:
    """The choices of a device widget. "gpu" is the one that ComfyUI uses. Several are also listed as "gpu:0" etc."""
    import comfy.model_management as management

    options = getattr(management, "get_gpu_device_options", list)()  # since 0.30
    return ["auto", "gpu", "cpu", *(name for name in options if name.startswith("gpu:"))]


def checkpoint_names() -> list[str]:
    """Names of all checkpoints, relative to their folders. New files appear without a restart."""
    names = _folder_paths().get_filename_list(MODEL_FOLDER)
    return [name for name in names if not Path(name).name.startswith(".")]  # macOS adds ._ files


def checkpoint_path(name: str) -> Path | None:
    """The file of a name of `checkpoint_names`; None if it is missing."""
    found = _folder_paths().get_full_path(MODEL_FOLDER, name)
    return None if found is None else Path(found)


def device(choice: str) -> torch.device:
    """The device for one of `devices`. "auto" is the one that ComfyUI uses.

    Raises:
        RequestError: the choice is a GPU, and ComfyUI has none.
    """
    import comfy.model_management as management

    if choice == "cpu":
        return torch.device("cpu")
    found = management.resolve_gpu_device_option(choice) if ":" in choice else management.get_torch_device()
    if choice == "gpu" and found.type == "cpu":
        raise RequestError("ComfyUI has no GPU here, or was started with --cpu. Set the device to auto or cpu.")
    return found


def precision(choice: str, target: torch.device) -> str:
    """`choice`, but fp32 for "auto" on a GPU on which ComfyUI itself avoids half precision."""
    import comfy.model_management as management

    return "fp32" if choice == "auto" and not management.should_use_fp16(target) else choice


def make_room(memory: int, target: torch.device) -> None:
    """Make ComfyUI unload other models until `memory` bytes are free on `target`."""
    import comfy.model_management as management

    management.free_memory(memory, target)


def free_memory(place: torch.device) -> float:
    """Free bytes on a device. For the CPU, the memory limit of a container counts too."""
    import comfy.model_management as management

    free = management.get_free_memory(place)
    limit = available_bytes() if place.type == "cpu" else None
    return free if limit is None else min(free, limit)


def new_image(batch: int, height: int, width: int, channels: int, working: int) -> torch.Tensor:
    """An uninitialised IMAGE [B,H,W,C] on the device and in the dtype that ComfyUI wants.

    Args:
        working: bytes of main memory that are needed in addition.

    Raises:
        MemoryLimitError: there is too little memory. (Linux would grant it, and kill ComfyUI when it is filled.)
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
                f"The result ({batch} x {width} x {height} pixels) needs {needed / 1e9:.1f} GB of memory, but only "
                f"{free / 1e9:.1f} GB are free. Choose a smaller size, or process fewer frames at a time."
            )
    return torch.empty(batch, height, width, channels, dtype=dtype, device=place)


def require_memory(needed: int, what: str) -> None:
    """Check that `needed` bytes of main memory are free.

    Raises:
        MemoryLimitError: there are fewer.
    """
    free = free_memory(torch.device("cpu"))
    if needed > free:
        raise MemoryLimitError(
            f"{what} needs {needed / 1e9:.1f} GB of memory, but only {free / 1e9:.1f} GB are free. "
            "Choose a smaller size."
        )


def video_source(video: Any) -> tuple[Path | BytesIO, float, float]:
    """The file or the bytes of a VIDEO, and the part to use: its first second and its length (0: to the end).

    Raises:
        RequestError: it is not a VIDEO.
    """
    if not hasattr(video, "get_stream_source"):
        raise RequestError(f"video is a {type(video).__name__}. Connect a VIDEO, for example from Load Video.")
    source = video.get_stream_source()
    window = getattr(video, "get_active_trim_window", None)  # since 0.10
    start, duration = window() if window else (0.0, 0.0)
    return Path(source) if isinstance(source, str) else source, start, duration


def require_whole(video: Any, height: int, width: int) -> None:
    """Check that a VIDEO is not cropped: ComfyUI gives no access to the crop, only to the whole file.

    Args:
        height: of the frames in the file, in pixels. Width and height may change places in the VIDEO if it is rotated.

    Raises:
        RequestError: it is cropped.
    """
    dimensions = video.get_dimensions()
    if set(dimensions) != {height, width}:
        raise RequestError(
            f"This video is cropped from {width} x {height} to {dimensions[0]} x {dimensions[1]} pixels. "
            "Upscale the whole video, then crop the result."
        )


def new_output(prefix: str, suffix: str) -> tuple[Path, dict[str, str]]:
    """A new file name in ComfyUI's output folder, and the same as the front end wants it."""
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
    """The workflow, to be stored in the file that it makes; empty if ComfyUI runs with --disable-metadata."""
    from comfy.cli_args import args

    if args.disable_metadata:
        return {}
    tags = {**(extra or {}), **({} if prompt is None else {"prompt": prompt})}
    return {name: json.dumps(value) for name, value in tags.items()}


def tell(notes: Sequence[str], node_id: str | None) -> None:
    """Lines in ComfyUI's log, and on the node while it runs."""
    for note in notes:
        logging.getLogger("TinySR").info(note)
    if notes:
        show_lines(notes, node_id)


def show_lines(lines: Sequence[str], node_id: str | None) -> None:
    """Lines of text on the node while it runs."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if node_id is not None and getattr(server, "instance", None) is not None:
        text = ";\n".join(lines)  # Nodes 2.0 shows a line break as a space
        server.instance.send_progress_text(text, node_id)


class Show(Protocol):
    """Shows that `done` of `total` steps are done of `frames` frames, the first of which has the number `start`.

    Raises ComfyUI's interrupt if the user pressed Cancel.
    """

    def __call__(self, start: int, done: int, total: int, frames: int = 1) -> None: ...


def progress_bar(batch: int) -> Show:
    """The node's progress bar for `batch` frames."""
    import comfy.utils

    bar = comfy.utils.ProgressBar(batch)
    shown: tuple[int, int] | None = None

    def show(start: int, done: int, total: int, frames: int = 1) -> None:
        nonlocal shown
        check_cancelled()
        reached = start * total + frames * done, batch * total
        if reached != shown:
            bar.update_absolute(*reached)
            shown = reached

    return show


def check_cancelled() -> None:
    """Raises ComfyUI's interrupt if the user pressed Cancel."""
    import comfy.model_management as management

    management.throw_exception_if_processing_interrupted()


def patcher(module: nn.Module) -> object:
    """What ComfyUI's own nodes manage the memory of `module` with. They need it since 0.28."""
    import comfy.model_management as management
    import comfy.model_patcher

    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(module, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())


def warn(message: str) -> None:
    """A line in ComfyUI's log."""
    logging.getLogger("TinySR").warning(message)


def cache_folder() -> Path | None:
    """Where engines store their measurements; None if the user has no home folder."""
    return _if_home(core_cache_folder)


def _folder_paths() -> Any:
    """ComfyUI's `folder_paths`, with TinySR's folders in it: extra_model_paths first, then ours."""
    import folder_paths

    for folder in (Path(folder_paths.models_dir, MODEL_FOLDER), _if_home(user_folder), shipped_folder()):
        if folder is not None:
            folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]  # added without extensions, which means any file
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, {".safetensors"})
    return folder_paths


def _if_home(folder: Callable[[], Path]) -> Path | None:
    """A folder in the user's home; None if there is no home, as in some containers."""
    try:
        return folder()
    except RuntimeError:
        return None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a read-only installation works too
        warn(f"The folder {path} could not be created: {error}")
