"""Which pixels the user means: the selected layers, with their filters, as far as the selection reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gi.repository import Gimp

from . import pixels
from .geometry import Box
from .translation import _


class RefusalError(Exception):
    """What was asked for cannot be done with this image; says what to do instead."""


@dataclass(frozen=True)
class Source:
    """A layer to be enlarged, wholly or in part."""

    layer: Gimp.Layer
    """The user's layer. It is never written to."""
    content: Gimp.Layer
    """What it looks like: the layer itself, or a copy with its filters merged."""
    region: Box
    """The part that is meant, in the coordinates of the image."""

    @property
    def box(self) -> Box:
        """`region` in the coordinates of `content`."""
        left, top = offsets(self.content)
        return self.region.moved(-left, -top)


class Sources:
    """The sources of one run; a context manager, which removes the copies it made."""

    def __init__(self, image: Gimp.Image, drawables: Sequence[Gimp.Drawable]) -> None:
        """Find out what `drawables` (layers, or the masks of layers) stand for.

        Raises:
            RefusalError: there is no layer among them, or nothing of them is selected.
        """
        self._image = image
        self._copies: list[Gimp.Layer] = []
        self._duplicate: Gimp.Image | None = None
        _ok, self.selected, left, top, right, bottom = Gimp.Selection.bounds(image)
        selection = Box(left, top, right - left, bottom - top)
        self.items: list[Source] = []
        for layer in _layers(drawables):
            content = self._with_filters(layer)
            region = Box(*offsets(content), content.get_width(), content.get_height())
            if self.selected:
                region = region.intersection(selection)
            if region:
                self.items.append(Source(layer, content, region))
        if not self.items:
            self.close()
            raise RefusalError(
                _("The selection lies outside the chosen layers. Choose another layer, or Select ▸ None.")
            )

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the copies."""
        for copy in self._copies:
            copy.delete()
        self._copies = []
        if self._duplicate:
            self._duplicate.delete()
            self._duplicate = None

    def _with_filters(self, layer: Gimp.Layer) -> Gimp.Layer:
        """`layer`, or where it has filters, a copy that shows them in its pixels."""
        if not layer.get_filters():
            return layer
        if layer.is_group():
            # only a group that is part of an image can be merged
            if self._duplicate is None:
                self._duplicate = self._image.duplicate()
            copy = _same_place(layer, self._duplicate).merge()
        else:
            copy = layer.copy()
            self._copies.append(copy)
        # a shadow needs alpha, which a filter shows but a merge would drop
        had_alpha = copy.has_alpha()
        copy.add_alpha()
        copy.merge_filters()
        if not had_alpha and pixels.is_opaque(copy):
            copy.flatten()
        return copy


def offsets(layer: Gimp.Layer) -> tuple[int, int]:
    """Left and top of `layer` in its image."""
    _ok, left, top = layer.get_offsets()
    return left, top


def _layers(drawables: Sequence[Gimp.Drawable]) -> list[Gimp.Layer]:
    """The layers that are meant, topmost first; a mask stands for its layer.

    The kinds of drawables are checked here, because GIMP's sensitivity masks do not bind callers of the PDB.
    """
    layers: list[Gimp.Layer] = []
    for drawable in drawables:
        layer = Gimp.Layer.from_mask(drawable) if isinstance(drawable, Gimp.LayerMask) else drawable
        if not isinstance(layer, Gimp.Layer):
            raise RefusalError(_("TinySR enlarges layers. Choose one in the Layers dialog."))
        if layer not in layers:
            layers.append(layer)
    if not layers:
        raise RefusalError(_("No layer is chosen. Choose one in the Layers dialog."))
    return sorted(layers, key=_path)


def _path(layer: Gimp.Layer) -> list[int]:
    """The positions of a layer's groups, from the outermost on, and its own; what lies above comes before."""
    parent = layer.get_parent()
    return [*(_path(parent) if parent else []), layer.get_image().get_item_position(layer)]


def _same_place(layer: Gimp.Layer, duplicate: Gimp.Image) -> Gimp.Layer:
    """The layer of `duplicate` that lies where `layer` lies in its own image."""
    siblings = duplicate.get_layers()
    *groups, own = _path(layer)
    for position in groups:
        siblings = siblings[position].get_children()
    return siblings[own]
