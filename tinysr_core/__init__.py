"""TinySR: one tiny network that upscales portraits.

Start with `upscale`: it takes a file, a Pillow image or an array. For more control, use `load_upscaler`, `enhance`
(arrays, with alpha and any size), `read_picture` and `write_picture`.

Each name is imported on first use, so that `import tinysr_core` is quick. None of them imports torch before a network
runs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engines import Upscaler, load_upscaler
    from .errors import TinySRError
    from .images import Picture, from_pil, read_picture, to_pil, write_picture
    from .model import find_checkpoint, list_checkpoints
    from .pipeline import enhance, enhance_picture, upscale
    from .postprocess import Finish, anti_alias, sharpen

__version__ = "0.1.0"

__all__ = [
    "Finish",
    "Picture",
    "TinySRError",
    "Upscaler",
    "anti_alias",
    "enhance",
    "enhance_picture",
    "find_checkpoint",
    "from_pil",
    "list_checkpoints",
    "load_upscaler",
    "read_picture",
    "sharpen",
    "to_pil",
    "upscale",
    "write_picture",
]

_MODULES = {
    "engines": ("Upscaler", "load_upscaler"),
    "errors": ("TinySRError",),
    "images": ("Picture", "from_pil", "read_picture", "to_pil", "write_picture"),
    "model": ("find_checkpoint", "list_checkpoints"),
    "pipeline": ("enhance", "enhance_picture", "upscale"),
    "postprocess": ("Finish", "anti_alias", "sharpen"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
