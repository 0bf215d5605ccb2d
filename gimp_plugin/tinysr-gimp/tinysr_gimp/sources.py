"""Which pixels the user means: the selected layers, with their filters, as far as the selection reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gi.repository import Gimp

from . import pixels
from .geometry import Box, Part
from .look import Look
from .translation import _

QUICK_MASK = "Qmask"
"""GIMP's name for the channel that stands for the quick mask."""


class RefusalError(Exception):
    """What was asked for cannot be done with this image; says what to do instead."""


@dataclass(frozen=True)
class Source:
    """A layer to be enlarged, wholly or in part; or what is visible of the whole image."""

    layer: Gimp.Layer | None
    """The user's layer; None for what is visible of the image."""
    content: Gimp.Layer
    """What it looks like: the layer itself, or a copy with its filters merged."""
    look: Look
    region: Box
    """The part that is meant, in the coordinates of the image."""
    whole: Box
    """What the part is enlarged with: itself, or for replaced layers the chosen group."""
    groups: tuple[Gimp.GroupLayer, ...] = ()
    """The chosen groups, outermost first, that are not drawn into one layer."""
    shaped: bool = False
    """Whether the selection is more than the rectangle of `region`."""
    mask: Gimp.LayerMask | None = None
    """The layer's mask."""
    mixed: bool = False
    """Whether the result has to be mixed into the whole layer, as it would show twice if it lay over it."""
    hides: tuple[Gimp.Layer, ...] = ()
    """The layers that the result stands for as a whole."""

    @property
    def part(self) -> Part:
        """Where it lies."""
        return Part(self.region, self.whole)

    @property
    def box(self) -> Box:
        """`region` in the coordinates of `content`."""
        left, top = offsets(self.content)
        return self.region.moved(-left, -top)


class Sources:
    """The sources of one run; a context manager, which removes the copies it made."""

    def __init__(self, image: Gimp.Image, drawables: Sequence[Gimp.Drawable], source: str, output: str) -> None:
        """Find out what `drawables` (layers, or the masks of layers) stand for.

        `source` and `output` are the procedure's arguments. Where layers are replaced, a selection does not count, as
        in *Image ▸ Scale Image*, and groups stand for the layers in them.

        Raises:
            RefusalError: there is no layer among them, or nothing of them is selected.
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
                for layer in chosen_layers(drawables):
                    self._add_all(layer, ())
            if not self.items:
                raise RefusalError(
                    _("The selection lies outside the chosen layers. Choose another layer, or Select ▸ None.")
                    if self.selection
                    else _("There are no pixels to enlarge. Choose a layer that has some.")
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
        """The user's layers that the results stand for."""
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
        # a shadow needs alpha, which a filter shows but a merge would drop
        had_alpha = copy.has_alpha()
        copy.add_alpha()
        copy.merge_filters()
        if not had_alpha and pixels.is_opaque(copy):
            copy.flatten()
        return copy


def extent(layer: Gimp.Layer) -> Box:
    """`layer` in the coordinates of its image."""
    return Box(*offsets(layer), layer.get_width(), layer.get_height())


def offsets(layer: Gimp.Layer) -> tuple[int, int]:
    """Left and top of `layer` in its image."""
    _ok, left, top = layer.get_offsets()
    return left, top


def chosen_layers(drawables: Sequence[Gimp.Drawable]) -> list[Gimp.Layer]:
    """The layers that are meant, topmost first: a mask stands for its layer, a group for all that it holds.

    The kinds of drawables are checked here, because GIMP's sensitivity masks do not bind callers of the PDB.

    Raises:
        RefusalError: something else is chosen, or nothing.
    """
    layers: list[Gimp.Layer] = []
    for drawable in drawables:
        if isinstance(drawable, Gimp.Channel) and drawable.get_name() == QUICK_MASK:
            raise RefusalError(_("The Quick Mask is active. Switch it off (Select ▸ Toggle Quick Mask)."))
        layer = Gimp.Layer.from_mask(drawable) if isinstance(drawable, Gimp.LayerMask) else drawable
        if not isinstance(layer, Gimp.Layer):
            raise RefusalError(_("A channel is active, and TinySR enlarges layers. Choose one in the Layers dialog."))
        if layer not in layers:
            layers.append(layer)
    if not layers:
        raise RefusalError(_("No layer is chosen. Choose one in the Layers dialog."))
    alone = [layer for layer in layers if not any(parent in layers for parent in _parents(layer))]
    return sorted(alone, key=_path)


def keeps_text(layer: Gimp.Layer) -> bool:
    """Whether a larger font can stand for the enlarged pixels of `layer`.

    Not where its markup has sizes of its own or its letters have outlines, which would keep their old widths, and not
    for masks and locked layers.
    """
    return (
        isinstance(layer, Gimp.TextLayer)
        and layer.is_text_layer()
        and not _has_sizes_of_its_own(layer)
        and not (layer.get_mask() or layer.get_lock_content() or layer.get_lock_position())
    )


def _has_sizes_of_its_own(text: Gimp.TextLayer) -> bool:
    markup = text.get_markup() or ""
    sizes = ("size=", "font=", "font_desc=", "rise=", "letter_spacing=", "line_height=")
    # GIMP 3.0 draws outlines too, but does not tell
    outlined = hasattr(text, "get_outline") and int(text.get_outline()) != 0
    return outlined or any(word in markup for word in sizes)


def _covers(content: Gimp.Layer, look: Look, region: Box) -> bool:
    """Whether a result of `region` that lies over the layer hides what the layer shows there."""
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


def _selection_bounds(image: Gimp.Image) -> Box | None:
    """What the selection covers; None where all is selected."""
    _ok, selected, left, top, right, bottom = Gimp.Selection.bounds(image)
    return Box(left, top, right - left, bottom - top) if selected else None
