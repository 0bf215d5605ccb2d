"""How all files of a folder job are upscaled."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engines import RunOptions
from ..errors import RequestError
from ..images import Keep, Subsampling
from ..model import DEFAULT_NAME, model_name, read_info
from ..postprocess import ExactSize, Factor, Finish, LongestSide, Megapixels
from ..video import Encoding

_SCALES = (2, 3, 4, 8)
"""A model can have one checkpoint for each of these scales."""
_SAME_RESULT = ("engine", "device", "tile")
"""Fields of `RunOptions` that do not change the result."""


@dataclass(frozen=True)
class Settings:
    """How all files of a job are upscaled.

    Raises:
        RequestError: `quality` or `largest` is out of range.
    """

    model: str = DEFAULT_NAME
    """A name that `tinysr models` lists, or the path of a checkpoint."""
    network: RunOptions = field(default_factory=RunOptions)
    """How the network is run."""
    finish: Finish = field(default_factory=Finish)
    """The size of the results and the steps that follow."""
    quality: int | None = None
    """1 to 100 for JPEG, WebP and AVIF; None: see `write_picture`."""
    subsampling: Subsampling | None = None
    """Chroma subsampling of JPEGs; None: see `write_picture`."""
    keep: Keep = "all"
    """Which metadata the results have; see `write_picture`."""
    strict: bool = False
    """Refuse truncated JPEGs, instead of upscaling the part that is there."""
    largest: int | None = None
    """Skip pictures and videos whose longer side has more pixels than this."""
    keep_mtime: bool = False
    """Give each result the modification time of its input."""
    encoding: Encoding = field(default_factory=Encoding)
    """How videos are encoded."""

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise RequestError(f"The quality is {self.quality}; give a number from 1 to 100.")
        if self.largest is not None and self.largest < 1:
            raise RequestError(f"--skip-larger-than is {self.largest}; give at least 1 pixel.")

    def checkpoint(self, factor: float | None = None) -> Path:
        """The checkpoint for an enlargement of `factor`; None: the one that the job will most likely need.

        Raises:
            CheckpointError: nothing has the model's name.
        """
        if factor is None:
            factor = self.finish.size.factor if isinstance(self.finish.size, Factor) else 2.0
        return self.network.find(self.model, factor)

    @property
    def model_name(self) -> str:
        """The name of the model, also where it was given as a path.

        Raises:
            CheckpointError: nothing has the model's name.
        """
        return model_name(self.checkpoint())

    @property
    def scale(self) -> int:
        """Upscaling factor of the network that the job will most likely need.

        Raises:
            CheckpointError: the model is unknown, or not a TinySR network.
        """
        return read_info(self.checkpoint()).config.scale

    @property
    def size_mark(self) -> str:
        """The size in the names of results: `x2` in `photo_x2.jpg`. Known before any picture is read.

        Raises:
            CheckpointError: the model is unknown, or not a TinySR network.
        """
        match self.finish.size:
            case None:
                return f"x{self.scale}"
            case Factor(factor):
                return f"x{factor:g}"
            case ExactSize(width, height):
                return f"{width}x{height}"
            case LongestSide(pixels):
                return f"{pixels}px"
            case Megapixels(millions):
                return f"{millions:g}mp"

    @property
    def fingerprint(self) -> str:
        """A hash of everything that changes the result of a picture, including the weights.

        Raises:
            CheckpointError: nothing has the model's name.
        """
        return self._hash(quality=self.quality, subsampling=self.subsampling, keep=self.keep)

    @property
    def video_fingerprint(self) -> str:
        """A hash of everything that changes the result of a video, including the weights.

        Raises:
            CheckpointError: nothing has the model's name.
        """
        return self._hash(encoding=dataclasses.asdict(self.encoding), keep=self.keep)

    def _hash(self, **file: Any) -> str:
        """A hash of the network and the finish, and of how the file is written."""
        weights = {path for scale in _SCALES for path in self.network.files(self.checkpoint(scale))}
        network = dataclasses.asdict(self.network)
        made_by = {
            "model": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(weights)],
            "network": {key: value for key, value in network.items() if key not in _SAME_RESULT},
            "finish": repr(self.finish),
            **file,
        }
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
