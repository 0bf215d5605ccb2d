"""Scores of a network on photographs that it is not trained on, at a bounded cost."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image

from ..errors import TrainingError
from ..evaluation import Method, lpips_distance, psnr_y, texture_distance
from ..images import Pixels8, decode
from ..loss import Loss, Lpips
from .degrade import Box, make_lr
from .patches import DataConfig

MAX_PHOTOS = 16
"""Number of photographs that are used."""
MAX_LR_PIXELS = 2**18
"""LR pixels of all crops together."""
MAX_SIDE = 192
"""Side of a crop, in LR pixels."""
TIME_SHARE = 0.1
"""Share of the training time that validation may take."""
RELATIVE_COST = 0.5
"""Cost to validate a pixel, relative to a training step: forward only, while training also runs the loss and the
backward pass."""

Metric = Literal["psnr", "texture", "lpips", "loss"]
METRIC_NAMES: Mapping[Metric, str] = {
    "psnr": "PSNR-Y",
    "texture": "texture distance",
    "lpips": "LPIPS",
    "loss": "validation loss",
}
JudgeName = Literal["auto", "psnr", "texture", "lpips-alex", "loss"]
"""The values of `ValidationConfig.judge`."""


@dataclass(frozen=True)
class ValidationConfig:
    """When to validate, and which metric chooses the best weights."""

    judge: JudgeName = "auto"
    """The metric that chooses the best weights: psnr, texture, lpips-alex (needs AlexNet) or loss, which is the
    recipe's own; auto: texture if the loss has a perceptual term, else psnr. A perceptual term as the judge would be
    biased towards weights that were trained on it."""
    every: int = 0
    """Steps from one validation to the next; 0: chosen so that validation takes a tenth of the time."""
    patience: int = 0
    """Stop after this number of validations without improvement; 0: never."""

    def __post_init__(self) -> None:
        if self.judge not in get_args(JudgeName):
            raise ValueError(f"unknown judge {self.judge!r}; choose {', '.join(get_args(JudgeName))}")


@dataclass(frozen=True)
class Scores:
    """Means over the validation photographs."""

    psnr: float
    """PSNR of Y in dB."""
    lpips: float | None = None
    """LPIPS (AlexNet); None if it was not measured."""
    loss: float | None = None
    """The recipe's loss; None if it is not the judge."""
    texture: float | None = None
    """See `texture_distance`."""

    def better_than(self, other: "Scores", judge: Metric) -> bool:
        """Whether these scores are better than `other` by the metric `judge`; False if they are equal."""
        mine, others = getattr(self, judge), getattr(other, judge)
        return mine > others if judge == "psnr" else mine < others


@dataclass(frozen=True)
class Measured:
    """The results of a method on the validation crops, and their scores."""

    scores: Scores
    pictures: Sequence[Pixels8]


def figure(metric: Metric, scores: Scores) -> str:
    """A score as text, in its significant digits; a dash if it was not measured."""
    value: float | None = getattr(scores, metric)
    if value is None:
        return "-"
    return f"{value:.2f} dB" if metric == "psnr" else f"{value:.4f}"


def comparison(all_scores: Mapping[str, Scores], method: str) -> str:
    """The scores of `method` as text, each with that of the base beside it, or of bicubic if there is no base."""
    reference = "base" if "base" in all_scores else "bicubic"
    mine, others = all_scores[method], all_scores[reference]
    return ", ".join(
        f"{title} {figure(metric, mine)} ({reference} {figure(metric, others)})"
        for metric, title in METRIC_NAMES.items()
        if getattr(mine, metric) is not None
    )


class Validator:
    """Measures methods on centre crops of photographs. Their LR crops are degraded as the recipe's LR patches are.

    Args:
        photos: the photographs; at most `MAX_PHOTOS` of them are used, evenly spaced.
        scale: the upscaling factor.
        config: how LR patches are made.
        loss: the recipe's loss, for the judge loss.
        judge: the metric that chooses the best weights.
        lpips: LPIPS with AlexNet. If given, it is measured, whether it is the judge or not.

    Raises:
        PictureError: a photograph cannot be read.
        TrainingError: the judge needs `lpips`.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        scale: int,
        config: DataConfig,
        loss: Loss,
        judge: JudgeName = "auto",
        lpips: Lpips | None = None,
    ) -> None:
        self.judge: Metric = choose_judge(judge, loss.weights)
        if self.judge == "lpips" and lpips is None:
            raise TrainingError("The judge lpips-alex needs the weights of LPIPS with AlexNet.")
        count = min(len(photos), MAX_PHOTOS)
        chosen = [photos[i * len(photos) // count] for i in range(count)]
        side = min(MAX_SIDE, math.isqrt(MAX_LR_PIXELS // count))
        pictures = [Image.fromarray(decode(path, config.megapixels)) for path in chosen]
        boxes = [_centre(picture.size, scale, side) for picture in pictures]
        self.hr: list[Pixels8] = [np.array(p.crop(box)) for p, box in zip(pictures, boxes, strict=True)]
        self.lr: list[Pixels8] = []
        for seed, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
            size = ((box[2] - box[0]) // scale, (box[3] - box[1]) // scale)
            self.lr.append(np.array(make_lr(picture, box, size, config.degrade, np.random.default_rng(seed))))
        self.scale, self.loss, self.lpips = scale, loss, lpips

    def interval(self, config: ValidationConfig, step_pixels: int) -> int:
        """Steps between validations, if a step trains on `step_pixels` LR pixels.

        It depends on sizes only, not on a clock, so that a resumed run validates at the same steps.
        """
        pixels = sum(lr.shape[0] * lr.shape[1] for lr in self.lr)
        return config.every or math.ceil(RELATIVE_COST * pixels / (TIME_SHARE * step_pixels))

    def measure(self, method: Method) -> Measured:
        """Run `method` on all crops and compute the mean scores."""
        pictures = [method(lr) for lr in self.lr]
        pairs = list(zip(pictures, self.hr, strict=True))
        lpips = self.lpips
        scores = Scores(
            psnr=_mean([psnr_y(sr, hr, self.scale) for sr, hr in pairs]),
            texture=_mean([texture_distance(sr, hr, self.scale) for sr, hr in pairs]),
            lpips=None if lpips is None else _mean([lpips_distance(lpips, sr, hr) for sr, hr in pairs]),
            loss=_mean([self._loss(sr, hr) for sr, hr in pairs]) if self.judge == "loss" else None,
        )
        return Measured(scores, pictures)

    @torch.no_grad()
    def _loss(self, sr: Pixels8, hr: Pixels8) -> float:
        device = next((buffer.device for buffer in self.loss.buffers()), None)
        tensors = [torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255 for picture in (sr, hr)]
        total, _ = self.loss(*tensors)
        return float(total)


def choose_judge(name: JudgeName, terms: Collection[str]) -> Metric:
    """The metric that chooses the weights of a recipe with these loss terms."""
    if name == "auto":
        return "texture" if {"vgg", "lpips"} & set(terms) else "psnr"
    return "lpips" if name == "lpips-alex" else name


def _centre(size: tuple[int, int], scale: int, side: int) -> Box:
    """Box of the centre crop of a picture of `size` (width, height), at most `side` LR pixels wide and high."""
    width, height = (scale * min(side, extent // scale) for extent in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
