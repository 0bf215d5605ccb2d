"""Training: recipes, photographs and patches, the loop, what a run measures and keeps.

The command is in `training/`; `train` is the loop behind it.
"""

from .device import sized, trains_on_gpu
from .loop import train
from .monitor import Trained, TrainingProgress
from .photo_check import GOOD, DataCheck, Finding, check_photos
from .recipe import NO_BASE, Recipe, load_recipe
from .validation import JudgeName, comparison

__all__ = [
    "GOOD",
    "NO_BASE",
    "DataCheck",
    "Finding",
    "JudgeName",
    "Recipe",
    "Trained",
    "TrainingProgress",
    "check_photos",
    "comparison",
    "load_recipe",
    "sized",
    "train",
    "trains_on_gpu",
]
