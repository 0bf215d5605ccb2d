"""What to enlarge: the selected layers with their filters, limited to the selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gi.repository import Gimp

from . import pixels
from .geometry import Box, Part
from .look import Look
from .text import keeps_text
from .translation import _

QUICK_MASK = "Qmask"
"""GIMP's name for the channel that represents the quick mask."""


class RefusalError(Exception):
    """The request cannot be done with this image. The message says what to do instead."""


@dataclass(frozen=True)
class Source:
    """A layer to enlarge, as a whole or in part; or the visible layers as one picture."""

    layer: Gimp.Layer | None
    """The user's layer; None for the visible layers."""
    content: Gimp.Layer
    """The pixels: the layer itself, or a copy with its filters merged."""
    look: Look
    region: Box
    """The part to enlarge, in the coordinates of the image."""
    whole: Box
    """What is enlarged around its centre: the part itself, or the selected group that it belongs to."""
    groups: tuple[Gimp.GroupLayer, ...] = ()
    """The selected groups, outermost first, that are not drawn into one layer."""
    shaped: bool = False
    """Whether the selection is not just the rectangle of `region`."""
    mask: Gimp.LayerMask | None = None
    """The layer's mask."""
    mixed: bool = False
    """Whether the result must be mixed into a copy of the layer, because above it both would be visible."""
    hides: tuple[Gimp.Layer, ...] = ()
    """The layers that the result replaces completely, and that are hidden then."""

    @property
    def part(self) -> Part:
        """Its rectangle, and the rectangle that it is enlarged with."""
        return Part(self.region, self.whole)

    @property
    def box(self) -> Box:
        """`region` in the coordinates of `content`."""
        left, top = offsets(self.content)
        return self.region.moved(-left, -top)


class Sources:
    """The sources of one run; a context manager that removes the copies it made."""

    def __init__(self, image: Gimp.Image, drawables: Sequence[Gimp.Drawable], source: str, output: str) -> None:
        """Find the sources of `drawables` (layers, or masks of layers).

        `source` and `output` are arguments of the procedure. If layers are replaced, the selection is ignored, as in
        *Image ▸ Scale Image*, and a group means the layers in it.

        Raises:
            RefusalError: there is no layer among the drawables, or the selection covers nothing of them.
        """
        self._image = image
        self._copies: list[Gimp.Layer] = []
        self._duplicate: Gimp.Image | None = None
        self._replaces = output.startswith("replace-")
        self._lies_over = output in ("scale-image", "same-size-layer")
        self.selection = None if self._replaces else _selection_bounds(image)
        self.items: list[Source] = []
        try:
            if source == "visible":
                self._add(None, self._visible(), Look(_("Visible layers")), ())
            elif output == "replace-image":
                for layer in _leaves(image.get_layers()):
                    if not keeps_text(layer):
                        self._add(layer, layer, Look.of(layer), ())
            else:
                for layer in selected_layers(drawables):
                    self._add_all(layer, ())
            if not self.items:
                raise RefusalError(
                    _("The selection is outside the selected layers. Select another layer, or use Select ▸ None.")
                    if self.selection
                    else _("There are no pixels to enlarge. Select a layer with pixels.")
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def originals(self) -> list[Gimp.Layer]:
        """The user's layers that are enlarged."""
        if self.items[0].layer is None:
            return self._image.get_layers()
        return [item.layer for item in self.items]

    def close(self) -> None:
        """Remove the copies."""
        for copy in self._copies:
            copy.delete()
        self._copies = []
        if self._duplicate:
            self._duplicate.delete()
            self._duplicate = None

    def _add_all(self, layer: Gimp.Layer, groups: tuple[Gimp.GroupLayer, ...]) -> None:
        """Add `layer`, or the layers of a group that is not drawn into one."""
        passes_through = layer.is_group() and layer.get_mode() == Gimp.LayerMode.PASS_THROUGH
        if layer.is_group() and (self._replaces or passes_through):
            for child in layer.get_children():
                self._add_all(child, (*groups, layer))
        else:
            content = layer if self._replaces else self._with_filters(layer)
            self._add(layer, content, Look.of(layer), groups)

    def _add(
        self, layer: Gimp.Layer | None, content: Gimp.Layer, look: Look, groups: tuple[Gimp.GroupLayer, ...]
    ) -> None:
        region = extent(content)
        whole = extent(groups[0]) if groups else region
        shaped = False
        if self.selection:
            region = region.intersection(self.selection)
            whole = whole.intersection(self.selection)
            shaped = bool(region) and not pixels.is_full(self._image.get_selection(), region)
        if region and whole:
            mixed = bool(self._lies_over and self.selection) and not _covers(content, look, region)
            hides = () if self.selection and not mixed else (layer,) if layer else tuple(self._image.get_layers())
            mask = content.get_mask()
            self.items.append(Source(layer, content, look, region, whole, groups, shaped, mask, mixed, hides))

    def _visible(self) -> Gimp.Layer:
        layer = Gimp.Layer.new_from_visible(self._image, self._image, _("Visible layers"))
        self._copies.append(layer)
        if pixels.is_opaque(layer):
            layer.flatten()
        return layer

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
        # merging would cut off a shadow if the layer had no alpha
        had_alpha = copy.has_alpha()
        copy.add_alpha()
        copy.merge_filters()
        if not had_alpha and pixels.is_opaque(copy):
            copy.flatten()
        return copy


def extent(layer: Gimp.Layer) -> Box:
    """The rectangle of `layer` in its image."""
    return Box(*offsets(layer), layer.get_width(), layer.get_height())


def offsets(layer: Gimp.Layer) -> tuple[int, int]:
    """Left and top of `layer` in its image."""
    _ok, left, top = layer.get_offsets()
    return left, top


def selected_layers(drawables: Sequence[Gimp.Drawable]) -> list[Gimp.Layer]:
    """The layers to enlarge, topmost first: a mask means its layer, and a group includes the layers in it.

    The kinds of drawables are checked here, because GIMP does not check them for callers of the PDB.

    Raises:
        RefusalError: something else is selected, or nothing.
    """
    layers: list[Gimp.Layer] = []
    for drawable in drawables:
        if isinstance(drawable, Gimp.Channel) and drawable.get_name() == QUICK_MASK:
            raise RefusalError(_("The Quick Mask is active. Switch it off (Select ▸ Toggle Quick Mask)."))
        layer = Gimp.Layer.from_mask(drawable) if isinstance(drawable, Gimp.LayerMask) else drawable
        if not isinstance(layer, Gimp.Layer):
            raise RefusalError(_("A channel is selected. Select a layer in the Layers dialog."))
        if layer not in layers:
            layers.append(layer)
    if not layers:
        raise RefusalError(_("No layer is selected. Select one in the Layers dialog."))
    alone = [layer for layer in layers if not any(parent in layers for parent in _parents(layer))]
    return sorted(alone, key=_path)


def _covers(content: Gimp.Layer, look: Look, region: Box) -> bool:
    """Whether a result of `region` that is above the layer hides the layer there."""
    masked = content.get_mask() is not None and look.applies_mask
    left, top = offsets(content)
    return look.is_plain and not masked and pixels.is_opaque(content, region.moved(-left, -top))


def _leaves(layers: Sequence[Gimp.Layer]) -> Iterator[Gimp.Layer]:
    for layer in layers:
        if layer.is_group():
            yield from _leaves(layer.get_children())
        else:
            yield layer


def _parents(layer: Gimp.Layer) -> Iterator[Gimp.Layer]:
    while layer := layer.get_parent():
        yield layer


def _path(layer: Gimp.Layer) -> list[int]:
    """The positions of the groups of `layer`, outermost first, and its own; upper layers sort first."""
    parent = layer.get_parent()
    return [*(_path(parent) if parent else []), layer.get_image().get_item_position(layer)]


def _same_place(layer: Gimp.Layer, duplicate: Gimp.Image) -> Gimp.Layer:
    """The layer of `duplicate` at the same position in the stack as `layer` in its own image."""
    siblings = duplicate.get_layers()
    *groups, own = _path(layer)
    for position in groups:
        siblings = siblings[position].get_children()
    return siblings[own]


def _selection_bounds(image: Gimp.Image) -> Box | None:
    """The bounds of the selection; None if there is no selection."""
    _ok, selected, left, top, right, bottom = Gimp.Selection.bounds(image)
    return Box(left, top, right - left, bottom - top) if selected else None
