"""What follows the network: resizing to the wanted size, sharpening and anti-aliasing.

Every function takes numpy arrays and torch tensors alike and returns the kind it got. Nothing here imports torch.
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
