"""Training: recipes, photographs and patches, the loop, validation, and the files of a run.

`train` is the loop; the command that calls it is in `training/`.
"""

from .device import sized, trains_on_gpu
from .loop import train
from .monitor import Trained, TrainingProgress
from .photo_check import RECOMMENDED_PHOTOS, DataCheck, Finding, check_photos
from .recipe import NO_BASE, Recipe, load_recipe
from .validation import JudgeName, comparison

__all__ = [
    "NO_BASE",
    "RECOMMENDED_PHOTOS",
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
