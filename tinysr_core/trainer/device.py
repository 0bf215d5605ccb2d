"""Batch size, patch size and learning rate for a CPU or a GPU, if the recipe leaves them open."""

import dataclasses
import math

import torch

from .recipe import Recipe

CPU_BATCH, CPU_PATCH = 8, 32
GPU_BATCH, GPU_PATCH = 16, 64
"""They fit into the memory of a 4 GB GPU."""


def trains_on_gpu() -> bool:
    """Whether Lightning Fabric uses a GPU on this machine."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def sized(recipe: Recipe, on_gpu: bool) -> Recipe:
    """The recipe with the device's batch or patch size in place of 0.

    The learning rate of such a recipe is for 8 patches of 32x32. It is scaled by the square root of the pixels per
    step, because the noise of the mean gradient falls with it (Krizhevsky 2014).
    """
    data = recipe.data
    if data.batch and data.patch:
        return recipe
    batch = data.batch or (GPU_BATCH if on_gpu else CPU_BATCH)
    patch = data.patch or (GPU_PATCH if on_gpu else CPU_PATCH)
    gain = math.sqrt(batch * patch**2 / (CPU_BATCH * CPU_PATCH**2))
    optimizer = dataclasses.replace(recipe.optimizer, learning_rate=gain * recipe.optimizer.learning_rate)
    return dataclasses.replace(recipe, data=dataclasses.replace(data, batch=batch, patch=patch), optimizer=optimizer)
