"""The arguments of the procedure as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gi.repository import Gimp

from .choices import steps

DEFAULT_MODEL = "portrait"
IN_IMAGE = ("scale-image", "replace-image", "new-layer", "same-size-layer", "replace-layer")
"""The outputs that change the image itself."""


@dataclass(frozen=True)
class Options:
    """The arguments of the procedure, under the same names."""

    model: str
    input: str
    """`layers` or `visible`."""
    scale: str
    """`x2`, `x3`, `x4`, or `size`."""
    width: int
    height: int
    output: str
    keep_print_size: bool
    detail: float
    auto_clean: bool
    """Whether TinySR chooses `clean` for each picture."""
    clean: float
    steps: dict[str, bool]
    """Which of `choices.steps` follow the network."""

    @classmethod
    def of(cls, config: Gimp.ProcedureConfig) -> Options:
        """Read all of them from `config`."""

        def read(names: Iterable[str]) -> dict[str, Any]:
            return {name: config.get_property(name.replace("_", "-")) for name in names}

        chosen = read(name.replace("-", "_") for name, *_ in steps())
        return cls(**read(cls.__dataclass_fields__.keys() - {"steps"}), steps=chosen)

    @property
    def network(self) -> dict[str, object]:
        """The fields of a request that choose the network and the steps after it."""
        network: dict[str, object] = {"model": self.model, "detail": self.detail, **self.steps}
        return network if self.auto_clean else network | {"clean": self.clean}
