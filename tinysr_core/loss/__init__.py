"""The training loss: its terms by name, and the networks VGG19 and LPIPS that some of them need."""

from .download import Downloads, Source
from .lpips import Lpips, load_lpips
from .terms import Loss, LossConfig
from .vgg import load_vgg19

__all__ = [
    "Downloads",
    "Loss",
    "LossConfig",
    "Lpips",
    "Source",
    "load_lpips",
    "load_vgg19",
]
