"""Training: recipes, photographs and patches, the loop, what a run measures and keeps.

The command is in `training/`; `train` is the loop behind it.
"""

from .loop import train
from .monitor import Trained, TrainingProgress
from .photo_check import GOOD, DataCheck, Finding, check_photos
from .recipe import NO_BASE, Recipe, load_recipe
from .validation import comparison

__all__ = [
    "GOOD",
    "NO_BASE",
    "DataCheck",
    "Finding",
    "Recipe",
    "Trained",
    "TrainingProgress",
    "check_photos",
    "comparison",
    "load_recipe",
    "train",
]
