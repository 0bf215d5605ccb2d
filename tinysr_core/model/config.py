"""The configuration that defines a TinySR network. Needs no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelConfig:
    """Width, depth and scale of a network (section 3 of the paper).

    Raises:
        ValueError: a number is below 1, or attention has more reduction than channels.
    """

    scale: int = 2
    """Upscaling factor, at least 1."""
    channels: int = 54
    """Feature channels of every layer."""
    blocks: int = 10
    """Number of 3x3 conv + ReLU blocks in the trunk."""
    attention: bool = True
    """Whether squeeze-and-excitation follows the trunk."""
    reduction: int = 16
    """Squeeze-and-excitation has `channels // reduction` hidden units."""

    def __post_init__(self) -> None:
        for name in ("scale", "channels", "blocks", "reduction"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.attention and self.channels < self.reduction:
            raise ValueError(f"attention needs channels >= reduction, not {self.channels} < {self.reduction}")

    @property
    def trunk_halo(self) -> int:
        """Reach of a trunk feature in LR pixels: the 7x7 head and the 3x3 trunk."""
        return 3 + self.blocks

    @property
    def halo(self) -> int:
        """Reach of an output pixel in LR pixels, apart from the global gate: the trunk and the 3x3 tail.

        The reach of the bicubic skip, 2 pixels, is smaller.
        """
        return self.trunk_halo + 1

    @property
    def parameters(self) -> int:
        """Number of trainable parameters: 148c + n(9c^2 + c) + 2c(c // r) + 27cs^2 + 3s^2."""
        c, s = self.channels, self.scale
        gate = 2 * c * (c // self.reduction) if self.attention else 0
        return 148 * c + self.blocks * (9 * c * c + c) + gate + 27 * c * s * s + 3 * s * s

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of a checkpoint, by name."""
        c, out = self.channels, 3 * self.scale**2
        shapes: dict[str, tuple[int, ...]] = {"head.weight": (c, 3, 7, 7), "head.bias": (c,)}
        for i in range(self.blocks):
            shapes[f"trunk.{i}.weight"] = (c, c, 3, 3)
            shapes[f"trunk.{i}.bias"] = (c,)
        if self.attention:
            hidden = c // self.reduction
            shapes["attention.squeeze.weight"] = (hidden, c)
            shapes["attention.excite.weight"] = (c, hidden)
        return shapes | {"tail.weight": (out, c, 3, 3), "tail.bias": (out,)}

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> "ModelConfig":
        """The config with exactly these tensor shapes, for files without metadata.

        Raises:
            CheckpointError: no config has them.
        """
        try:
            channels = shapes["head.weight"][0]
            squeeze = shapes.get("attention.squeeze.weight")
            config = cls(
                scale=math.isqrt(shapes["tail.weight"][0] // 3),
                channels=channels,
                blocks=sum(name.startswith("trunk.") and name.endswith(".weight") for name in shapes),
                attention=squeeze is not None,
                reduction=channels // squeeze[0] if squeeze else cls.reduction,
            )
        except (KeyError, IndexError, ValueError, ZeroDivisionError):
            config = None
        if config is None or config.shapes != dict(shapes):
            raise CheckpointError("These tensors are not a TinySR network; choose another checkpoint.")
        return config


PRESETS: Mapping[str, ModelConfig] = {
    "tiny": ModelConfig(channels=54, blocks=10),
    "paper": ModelConfig(channels=64, blocks=10),
    "lite": ModelConfig(channels=32, blocks=10),
}
"""The widths: `tiny` has the parameter count of the paper (0.28 M), `paper` its layer list (0.39 M), and `lite` is for
speed (0.10 M)."""
