"""How good a network is on photographs it does not train on, at a bounded price."""

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

PHOTOS = 16
"""At most so many photographs are looked at."""
LR_PIXELS = 2**18
"""At most so many LR pixels of all photographs together."""
SIDE = 192
"""Longest side of a crop, in LR pixels."""
SHARE = 0.1
"""Share of the time that validation may take."""
COST = 0.5
"""What a pixel costs to validate, against training on it: forward alone, where a step also goes back through the
network and the loss."""

Judge = Literal["psnr", "texture", "lpips", "loss"]
METRIC_NAMES: Mapping[Judge, str] = {
    "psnr": "PSNR-Y",
    "texture": "texture distance",
    "lpips": "LPIPS",
    "loss": "validation loss",
}
JudgeName = Literal["auto", "psnr", "texture", "lpips-alex", "loss"]
"""What a recipe can name as its judge."""


@dataclass(frozen=True)
class ValidationConfig:
    """When to look at the validation photographs, and what decides there."""

    judge: JudgeName = "auto"
    """What chooses the best weights: psnr, texture, lpips-alex (needs AlexNet) or loss, the recipe's own; auto: texture
    where the loss has a perceptual term, else psnr. The perceptual terms themselves would prefer what they were trained
    on."""
    every: int = 0
    """Steps from one validation to the next; 0: as many as keep validation within a tenth of the time."""
    patience: int = 0
    """Stop after so many validations without a better one; 0: never."""

    def __post_init__(self) -> None:
        if self.judge not in get_args(JudgeName):
            raise ValueError(f"there is no judge {self.judge!r}; choose {', '.join(get_args(JudgeName))}")


@dataclass(frozen=True)
class Scores:
    """Means over the validation photographs."""

    psnr: float
    """PSNR of Y in dB."""
    lpips: float | None = None
    """LPIPS (AlexNet), where its weights were given."""
    loss: float | None = None
    """The recipe's own loss, where it is the judge."""
    texture: float | None = None
    """`texture_distance`."""

    def better_than(self, other: "Scores", judge: Judge) -> bool:
        """Whether `judge` prefers these to `other`."""
        mine, others = getattr(self, judge), getattr(other, judge)
        return mine > others if judge == "psnr" else mine < others


@dataclass(frozen=True)
class Measured:
    """What a method made of the validation crops, and how good that is."""

    scores: Scores
    pictures: Sequence[Pixels8]


def figure(metric: Judge, scores: Scores) -> str:
    """A score with the digits that mean something; a dash where it was not measured."""
    value: float | None = getattr(scores, metric)
    if value is None:
        return "-"
    return f"{value:.2f} dB" if metric == "psnr" else f"{value:.4f}"


def comparison(all_scores: Mapping[str, Scores], method: str) -> str:
    """The scores of `method`, each beside that of the base, or where there is none, of bicubic."""
    reference = "base" if "base" in all_scores else "bicubic"
    mine, others = all_scores[method], all_scores[reference]
    return ", ".join(
        f"{title} {figure(metric, mine)} ({reference} {figure(metric, others)})"
        for metric, title in METRIC_NAMES.items()
        if getattr(mine, metric) is not None
    )


class Validator:
    """Centre crops of photographs, and the judge of what is made of them.

    `lpips` is LPIPS with AlexNet; it is measured where it is given, whether it is the judge or not.

    LR crops are made as those of the training are, spoilt where `config` says so.

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
        self.judge: Judge = choose_judge(judge, loss.weights)
        if self.judge == "lpips" and lpips is None:
            raise TrainingError("The judge lpips-alex needs the weights of LPIPS with AlexNet.")
        number = min(len(photos), PHOTOS)
        chosen = [photos[i * len(photos) // number] for i in range(number)]
        side = min(SIDE, math.isqrt(LR_PIXELS // len(chosen)))
        pictures = [Image.fromarray(decode(path, config.megapixels)) for path in chosen]
        boxes = [_centre(picture.size, scale, side) for picture in pictures]
        self.hr: list[Pixels8] = [np.array(p.crop(box)) for p, box in zip(pictures, boxes, strict=True)]
        self.lr: list[Pixels8] = []
        for number, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
            size = ((box[2] - box[0]) // scale, (box[3] - box[1]) // scale)
            self.lr.append(np.array(make_lr(picture, box, size, config.degrade, np.random.default_rng(number))))
        self.scale, self.loss, self.lpips = scale, loss, lpips

    def interval(self, config: ValidationConfig, step_pixels: int) -> int:
        """Steps between validations, where a step trains on `step_pixels` LR pixels. It follows from sizes alone, not
        from a clock: a run that was interrupted validates at the same steps."""
        pixels = sum(lr.shape[0] * lr.shape[1] for lr in self.lr)
        return config.every or math.ceil(COST * pixels / (SHARE * step_pixels))

    def measure(self, method: Method) -> Measured:
        """Run `method` on every crop."""
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


def choose_judge(name: JudgeName, terms: Collection[str]) -> Judge:
    """The metric that a recipe with these loss terms is judged by."""
    if name == "auto":
        return "texture" if {"vgg", "lpips"} & set(terms) else "psnr"
    return "lpips" if name == "lpips-alex" else name


def _centre(size: tuple[int, int], scale: int, side: int) -> Box:
    """Box of the centre crop of a picture of `size`, at most `side` LR pixels wide and high."""
    width, height = (scale * min(side, extent // scale) for extent in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
