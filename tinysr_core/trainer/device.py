"""What a recipe leaves to the device that it is trained on."""

import dataclasses
import math

import torch

from .recipe import Recipe

CPU_BATCH, CPU_PATCH = 8, 32
GPU_BATCH, GPU_PATCH = 16, 64
"""Small enough for a GPU of 4 GB."""


def trains_on_gpu() -> bool:
    """Whether Lightning Fabric takes a GPU here."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def sized(recipe: Recipe, on_gpu: bool) -> Recipe:
    """The recipe with numbers for a batch or patch of 0.

    The learning rate of such a recipe is meant for 8 patches of 32x32. It grows with the square root of the pixels of a
    step, as the noise of their mean gradient falls with it (Krizhevsky 2014).
    """
    data = recipe.data
    if data.batch and data.patch:
        return recipe
    batch = data.batch or (GPU_BATCH if on_gpu else CPU_BATCH)
    patch = data.patch or (GPU_PATCH if on_gpu else CPU_PATCH)
    gain = math.sqrt(batch * patch**2 / (CPU_BATCH * CPU_PATCH**2))
    optimizer = dataclasses.replace(recipe.optimizer, learning_rate=gain * recipe.optimizer.learning_rate)
    return dataclasses.replace(recipe, data=dataclasses.replace(data, batch=batch, patch=patch), optimizer=optimizer)
