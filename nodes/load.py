"""*Load TinySR*: a checkpoint becomes an UPSCALE_MODEL."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..tinysr_core.errors import CheckpointError, TinySRError
from ..tinysr_core.model import find_relative, has_photo, load_checkpoint, read_checkpoint, read_info
from . import host
from .interop import upscale_model
from .values import check

DETAIL = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}

DEFAULT = "tinysr-portrait-x2.safetensors"
AUTO = "auto"
CLEAN = (AUTO, *(f"{tenth / 10:g}" for tenth in range(11)))


class TinySRLoader:
    """Reloads a file that has changed. New files appear without a restart (press R)."""

    CATEGORY = host.category("model/loaders", "loaders")
    DESCRIPTION = (
        "Loads a TinySR network: one that comes with the pack, or your own fine-tuned one from models/tinysr. Every "
        "node that takes an upscale model can use it."
    )
    SEARCH_ALIASES = ("superres", "super resolution", "upscale model", "load upscale model", "fine-tuned upscaler")
    RETURN_TYPES = ("UPSCALE_MODEL",)
    RETURN_NAMES = ("upscale_model",)
    OUTPUT_TOOLTIPS = ("For TinySR Upscale or any other node that upscales with a model.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = host.checkpoint_names()
        return {
            "required": {
                "checkpoint": (
                    names,
                    {"default": DEFAULT if DEFAULT in names else next(iter(names), "")}
                    | {
                        "tooltip": "The number after the x is the scale. Put your own checkpoints into models/tinysr, "
                        "and press R to list them."
                    },
                )
            },
            "optional": {
                "detail": (
                    "FLOAT",
                    DETAIL
                    | {
                        "tooltip": "1: the checkpoint as it is. Lower values blend it with its faithful twin; 0 is the "
                        "twin alone. Fewer invented details, closer to the pixels, same speed."
                    },
                ),
                "clean": (
                    list(CLEAN),
                    {
                        "tooltip": "Share of the photo network, which removes JPEG blocks and noise. auto: TinySR "
                        "Upscale chooses 0 or 1 for each batch and shows why; TinySR Upscale Video uses 1; other nodes "
                        "use 0."
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint: str | None = None) -> bool | str:
        """Reports a missing file before anything runs. For a linked value, ComfyUI passes None."""
        if checkpoint is None or host.checkpoint_path(checkpoint) is not None:
            return True
        names = ", ".join(host.checkpoint_names())
        return f"There is no TinySR checkpoint {checkpoint!r}. Put it into models/tinysr, or choose one of: {names}."

    @classmethod
    def IS_CHANGED(cls, checkpoint: str | None = None, detail: float | None = 1.0, clean: str | None = AUTO) -> str:
        """A fingerprint of the files, so that replaced ones are read again. For a linked name: of all checkpoints."""
        names = host.checkpoint_names() if checkpoint is None else [checkpoint]
        paths = [path for name in names if (path := host.checkpoint_path(name)) is not None]
        with suppress(TinySRError):  # a relative is missing, which `load` reports
            for info in [read_info(path) for path in paths] if checkpoint is not None else []:
                paths += [find_relative(info, "twin")] if detail != 1 else []
                paths += [find_relative(info, "photo")] if clean != "0" and has_photo(info) else []
        return " ".join(_fingerprint(path) for path in paths) or "missing"

    def load(self, checkpoint: str, detail: float = 1.0, clean: str = AUTO) -> tuple[Any]:
        """Name of a checkpoint, and how it is blended with its relatives -> UPSCALE_MODEL.

        Raises:
            CheckpointError: the file is missing, damaged or not TinySR's, or a relative to blend with is missing.
            RequestError: the node does not accept a linked value.
        """
        detail = check("detail", "FLOAT", DETAIL, detail)
        clean = check("clean", list(CLEAN), {}, clean)
        path = host.checkpoint_path(checkpoint) if isinstance(checkpoint, str) else None
        if path is None:
            raise CheckpointError(
                f"There is no checkpoint {checkpoint!r}. Put it into models/tinysr, or choose another one."
            )
        if clean != AUTO:
            return (upscale_model(load_checkpoint(path, detail, float(clean))),)
        info = read_info(path)
        photo = read_checkpoint(find_relative(info, "photo")) if has_photo(info) else None
        return (upscale_model(load_checkpoint(path, detail), photo),)


def _fingerprint(path: Path) -> str:
    try:
        state = path.stat()
    except OSError as error:  # the file has just been removed
        return str(error)
    return f"{path}:{state.st_size}:{state.st_mtime_ns}"
