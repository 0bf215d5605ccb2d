"""A stand-in for ComfyUI: exactly the calls `nodes/host.py` makes, and the two with which a test drives them."""

import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch


def fake_modules(models_dir: Path) -> dict[str, ModuleType]:
    """The modules of ComfyUI by name, to be put into `sys.modules`."""
    comfy = ModuleType("comfy")
    comfy.model_management = _model_management()
    comfy.utils = _utils()
    comfy.model_patcher = _model_patcher()
    comfy.cli_args = ModuleType("comfy.cli_args")
    comfy.cli_args.args = SimpleNamespace(disable_metadata=False)
    names = ("model_management", "utils", "model_patcher", "cli_args")
    submodules = {f"comfy.{name}": getattr(comfy, name) for name in names}
    api = ModuleType("comfy_api")
    api.input_impl = ModuleType("comfy_api.input_impl")
    api.input_impl.VideoFromFile = VideoFromFile
    submodules |= {"comfy_api": api, "comfy_api.input_impl": api.input_impl}
    return {"comfy": comfy, "folder_paths": _folder_paths(models_dir), **submodules}


class VideoFromFile:
    def __init__(self, file) -> None:
        self.file = file

    def get_stream_source(self):
        return self.file

    def get_dimensions(self):
        import av

        with av.open(self.file) as video:
            return video.streams.video[0].width, video.streams.video[0].height


def _model_management() -> ModuleType:
    module = ModuleType("comfy.model_management")
    interrupted = False

    class InterruptProcessingException(BaseException):
        pass

    def interrupt_current_processing(value: bool = True) -> None:
        nonlocal interrupted
        interrupted = value

    def throw_exception_if_processing_interrupted() -> None:
        nonlocal interrupted
        if interrupted:
            interrupted = False
            raise InterruptProcessingException

    module.InterruptProcessingException = InterruptProcessingException
    module.interrupt_current_processing = interrupt_current_processing
    module.throw_exception_if_processing_interrupted = throw_exception_if_processing_interrupted
    module.get_torch_device = lambda: torch.device("cpu")
    module.intermediate_device = lambda: torch.device("cpu")
    module.unet_offload_device = lambda: torch.device("cpu")
    module.intermediate_dtype = lambda: torch.float32
    module.free_memory = lambda memory_required, device: []
    module.get_free_memory = lambda device: 8e9
    module.should_use_fp16 = lambda device: False
    return module


def _utils() -> ModuleType:
    module = ModuleType("comfy.utils")
    module.PROGRESS_BAR_HOOK = None

    def set_progress_bar_global_hook(hook) -> None:
        module.PROGRESS_BAR_HOOK = hook

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.hook = module.PROGRESS_BAR_HOOK

        def update_absolute(self, value: int, total: int) -> None:
            if self.hook is not None:
                self.hook(value, total, None, node_id=None)

    module.set_progress_bar_global_hook = set_progress_bar_global_hook
    module.ProgressBar = ProgressBar
    return module


def _model_patcher() -> ModuleType:
    module = ModuleType("comfy.model_patcher")

    class ModelPatcher:
        def __init__(self, model, load_device, offload_device) -> None:
            self.model, self.load_device, self.offload_device = model, load_device, offload_device

    module.ModelPatcher = ModelPatcher
    return module


def _folder_paths(models_dir: Path) -> ModuleType:
    module = ModuleType("folder_paths")
    module.models_dir = str(models_dir)
    module.folder_names_and_paths = {}

    def add_model_folder_path(name: str, path: str) -> None:
        paths, _ = module.folder_names_and_paths.setdefault(name, ([], set()))
        if path not in paths:
            paths.append(path)

    def get_filename_list(name: str) -> list[str]:
        paths, extensions = module.folder_names_and_paths[name]
        found = (file for path in paths for file in Path(path).rglob("*") if file.suffix in extensions)
        return sorted({os.path.relpath(file, path) for file in found for path in paths if file.is_relative_to(path)})

    def get_full_path(name: str, file_name: str) -> str | None:
        candidates = (Path(path, file_name) for path in module.folder_names_and_paths[name][0])
        return next((str(path) for path in candidates if path.is_file()), None)

    def get_save_image_path(prefix: str, output: str) -> tuple[str, str, int, str, str]:
        path = Path(output, prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        counter = 1 + sum(1 for _ in path.parent.glob(f"{path.name}_*"))
        return str(path.parent), path.name, counter, str(Path(prefix).parent), prefix

    module.get_output_directory = lambda: str(models_dir.parent / "output")
    module.get_save_image_path = get_save_image_path
    module.add_model_folder_path = add_model_folder_path
    module.get_filename_list = get_filename_list
    module.get_full_path = get_full_path
    return module
