"""The arguments of the procedure as one value."""

from __future__ import annotations

from dataclasses import dataclass

from gi.repository import Gimp

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
    sharpen: bool
    anti_alias: bool

    @classmethod
    def of(cls, config: Gimp.ProcedureConfig) -> Options:
        """Read all of them from `config`."""
        return cls(**{name: config.get_property(name.replace("_", "-")) for name in cls.__dataclass_fields__})

    @property
    def network(self) -> dict[str, object]:
        """The fields of a request that choose the network and the steps after it."""
        network: dict[str, object] = {
            "model": self.model,
            "detail": self.detail,
            "sharpen": self.sharpen,
            "anti_alias": self.anti_alias,
        }
        return network if self.auto_clean else network | {"clean": self.clean}
