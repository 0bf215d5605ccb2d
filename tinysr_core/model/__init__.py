"""The network and its weights: the configuration, the layers in torch, checkpoint files, and blends of checkpoints.

Reading, listing and blending checkpoints needs no torch. `TinySR`, the network in torch, is imported on first use.
"""

from typing import TYPE_CHECKING

from ..util import lazy_getattr
from .bicubic import skip_kernel
from .blend import Relation, find_cleanable, find_relative, has_photo, load_checkpoint, mixed, relatives_of_descendant
from .catalog import (
    DEFAULT_NAME,
    SUFFIX,
    cache_folder,
    find_checkpoint,
    find_exactly,
    install_checkpoint,
    list_checkpoints,
    list_files,
    model_name,
    shipped_folder,
    user_folder,
)
from .checkpoint import Checkpoint, CheckpointInfo, read_checkpoint, read_info, weights_digest, write_checkpoint
from .config import PRESETS, ModelConfig

if TYPE_CHECKING:
    from .network import TinySR, bicubic_skip

__all__ = [
    "DEFAULT_NAME",
    "PRESETS",
    "SUFFIX",
    "Checkpoint",
    "CheckpointInfo",
    "ModelConfig",
    "Relation",
    "TinySR",
    "bicubic_skip",
    "cache_folder",
    "find_checkpoint",
    "find_cleanable",
    "find_exactly",
    "find_relative",
    "has_photo",
    "install_checkpoint",
    "list_checkpoints",
    "list_files",
    "load_checkpoint",
    "mixed",
    "model_name",
    "read_checkpoint",
    "read_info",
    "relatives_of_descendant",
    "shipped_folder",
    "skip_kernel",
    "user_folder",
    "weights_digest",
    "write_checkpoint",
]

__getattr__ = lazy_getattr(__name__, {"TinySR": "network", "bicubic_skip": "network"})
