"""What training minimises: the named terms of the loss, and the networks VGG19 and LPIPS that some terms need."""

from .lpips import Lpips, load_lpips
from .terms import Loss, LossConfig
from .vgg import load_vgg19

__all__ = [
    "Loss",
    "LossConfig",
    "Lpips",
    "load_lpips",
    "load_vgg19",
]
