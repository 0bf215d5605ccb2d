"""The network: TinyESPCN-Enhanced (Das, Saawarn, Sarkar 2025, section 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig

TAIL_GAIN = 0.1
"""Scale of the last conv's first weights: small, so that training starts at bicubic."""


class SqueezeExcitation(nn.Module):
    """Channel attention without biases: mean features [B,C] -> gate [B,C] in (0,1) (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class TinySR(nn.Module):
    """LR picture [B,3,h,w] in [0,1] -> SR picture [B,3,s*h,s*w], not clamped.

    7x7 conv gives x1; `blocks` times 3x3 conv + ReLU gives x2; a gate per channel scales x2; 3x3 conv and PixelShuffle
    of x1 + x2 give what is added to the bicubic enlargement (torch's kernel, a = -0.75).

    The gate is the only part with unlimited reach. Pass one `gate` to every tile of a picture, and tiles agree with
    the whole picture; without it, the gate follows from the mean of x2 over the input.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.head = nn.Conv2d(3, channels, 7, padding=3)
        self.trunk = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(config.blocks))
        self.attention = SqueezeExcitation(channels, config.reduction) if config.attention else None
        self.tail = nn.Conv2d(channels, 3 * config.scale**2, 3, padding=1)
        self._initialise()

    def forward(self, image: Tensor, gate: Tensor | None = None) -> Tensor:
        """`image` [B,3,h,w]; `gate` [B or 1, C] from `gate`, or None. Returns [B,3,s*h,s*w]."""
        shallow, deep = self._features(image)
        if self.attention is not None:
            if gate is None:
                gate = self.attention(deep.mean((2, 3)))
            deep = deep * gate[:, :, None, None]
        detail = F.pixel_shuffle(self.tail(shallow + deep), self.config.scale)
        return F.interpolate(image, scale_factor=self.config.scale, mode="bicubic") + detail

    def gate(self, pooled: Tensor) -> Tensor | None:
        """Gate [B,C] for the mean trunk features [B,C] of a picture; None where the network has no attention."""
        return None if self.attention is None else self.attention(pooled)

    def pooled(self, window: Tensor, margin: int = 0) -> Tensor:
        """Mean trunk features [B,C] of `window` [B,3,h,w], `margin` pixels at each edge left out."""
        _, deep = self._features(window)
        height, width = deep.shape[2:]
        return deep[:, :, margin : height - margin, margin : width - margin].mean((2, 3))

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shallow = F.relu(self.head(image))
        deep = shallow
        for conv in self.trunk:
            deep = F.relu(conv(deep))
        return shallow, deep

    def _initialise(self) -> None:
        for conv in [self.head, *self.trunk]:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        nn.init.kaiming_normal_(self.tail.weight, nonlinearity="linear")
        with torch.no_grad():
            self.tail.weight.mul_(TAIL_GAIN)
        nn.init.zeros_(self.tail.bias)
