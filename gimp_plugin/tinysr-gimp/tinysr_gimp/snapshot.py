"""Notices changes of the image during a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gi.repository import Gimp

from . import pixels
from .geometry import Box
from .sources import RefusalError, extent
from .translation import _


@dataclass(frozen=True)
class _State:
    place: Box
    parent: Gimp.Layer | None
    pixels: tuple[int, ...]

    @classmethod
    def of(cls, layer: Gimp.Layer) -> _State:
        mask = layer.get_mask()
        drawables = [layer, mask] if mask else [layer]
        return cls(extent(layer), layer.get_parent(), tuple(pixels.fingerprint(drawable) for drawable in drawables))


def image_changed() -> RefusalError:
    """The error for the user."""
    return RefusalError(
        _("The image changed while TinySR was working, so the result no longer fits. Run TinySR again.")
    )


class Snapshot:
    """The state of an image, and of the layers to enlarge, at the start of a run."""

    def __init__(self, image: Gimp.Image, layers: Sequence[Gimp.Layer]) -> None:
        self._image = image
        self._size = image.get_width(), image.get_height()
        self._states = {layer: _State.of(layer) for layer in layers}

    def check(self) -> None:
        """Check whether the state is still the same.

        Raises:
            RefusalError: it is not.
        """
        if not self._is_unchanged():
            raise image_changed()

    def _is_unchanged(self) -> bool:
        return (
            self._image.is_valid()
            and (self._image.get_width(), self._image.get_height()) == self._size
            and all(layer.is_valid() and _State.of(layer) == state for layer, state in self._states.items())
        )
