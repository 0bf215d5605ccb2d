"""The steps after the network: resize to the requested size, sharpen and anti-alias.

Every function takes numpy arrays or torch tensors and returns the same kind. Nothing here imports torch.
"""

from .finish import STEPS, Finish, anti_alias, sharpen
from .resize import Kernel, resize
from .sizes import ExactSize, Factor, LongestSide, Megapixels, ResultSize, Size, parse_size, result_size

__all__ = [
    "STEPS",
    "ExactSize",
    "Factor",
    "Finish",
    "Kernel",
    "LongestSide",
    "Megapixels",
    "ResultSize",
    "Size",
    "anti_alias",
    "parse_size",
    "resize",
    "result_size",
    "sharpen",
]
