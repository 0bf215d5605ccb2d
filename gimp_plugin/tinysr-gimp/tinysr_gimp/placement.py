"""Puts the results into an image. All results exist before; here the image changes, in one undo step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gi.repository import Gimp, Gio

from . import pixels
from .geometry import Box, Factors, Plan
from .look import Look, unlocked
from .sources import RefusalError, Source, extent, offsets
from .text import text_kept
from .translation import _

OWN_SETTERS = ("icc-profile", "simulation-icc-profile", "gimp-image-metadata", "gimp-metadata")
"""Parasites of an image that have their own functions."""


@dataclass(frozen=True)
class Enlarged:
    """A source and its result."""

    source: Source
    box: Box
    """Where the result is in its image, and its size."""
    layer: Gimp.Layer
    """The result, not yet part of the image."""
    mask: Gimp.LayerMask | None
    """The mask of the result, not yet added to it."""


def new_image(image: Gimp.Image, layout: Plan, keep_print_size: bool) -> Gimp.Image:
    """An empty image with the precision, profile, resolution, metadata and name of `image`."""
    base = Gimp.ImageBaseType.RGB if image.get_base_type() == Gimp.ImageBaseType.INDEXED else image.get_base_type()
    new = Gimp.Image.new_with_precision(layout.frame.width, layout.frame.height, base, image.get_precision())
    new.undo_disable()
    if profile := image.get_color_profile():
        new.set_color_profile(profile)
    _set_resolution(new, image, layout.factors if keep_print_size else Factors(1, 1))
    new.set_unit(image.get_unit())
    if metadata := image.get_metadata():
        new.set_metadata(metadata)
    for name in image.get_parasite_list():
        if name not in OWN_SETTERS:
            new.attach_parasite(image.get_parasite(name))
    if file := _new_file(image, layout.factors):
        new.set_file(file)
    return new


def blank_layer(image: Gimp.Image, source: Source, size: Box) -> Gimp.Layer:
    """A layer of the kind of `source`, not yet part of `image`."""
    content = source.content
    kinds = (
        (Gimp.ImageType.GRAY_IMAGE, Gimp.ImageType.GRAYA_IMAGE)
        if content.is_gray()
        else (Gimp.ImageType.RGB_IMAGE, Gimp.ImageType.RGBA_IMAGE)
    )
    kind = kinds[content.has_alpha()]
    return Gimp.Layer.new(image, source.look.name, size.width, size.height, kind, 100, Gimp.LayerMode.NORMAL)


def into_new_image(
    image: Gimp.Image, results: Sequence[Enlarged], group_masks: Mapping[Gimp.GroupLayer, tuple[Gimp.Channel, Box]]
) -> None:
    """Put the results into `image`, which is new and empty, inside new groups for the selected groups.

    `group_masks`: the enlarged masks of these groups, and where they are in the image.
    """
    groups: dict[Gimp.GroupLayer, Gimp.GroupLayer] = {}
    counts: dict[Gimp.GroupLayer | None, int] = {}

    def append(layer: Gimp.Layer, parent: Gimp.GroupLayer | None) -> None:
        image.insert_layer(layer, parent, counts.get(parent, 0))
        counts[parent] = counts.get(parent, 0) + 1

    for result in results:
        parent = None
        for group in result.source.groups:
            if group not in groups:
                groups[group] = Gimp.GroupLayer.new(image, group.get_name())
                append(groups[group], parent)
            parent = groups[group]
        append(result.layer, parent)
        _finish(result, result.source.look)
    for group, made in groups.items():
        if group in group_masks:
            channel, place = group_masks[group]
            mask = made.create_mask(Gimp.AddMaskType.WHITE)
            made.add_mask(mask)
            pixels.copy(channel, extent(made).moved(-place.x, -place.y), mask)
            channel.delete()
            _take_mask_settings(made, Look.of(group))
        Look.of(group).apply(made)
    layers = [result.layer for result in results]
    if not any(layer.get_visible() for layer in layers):
        for layer in layers:  # an image in which nothing is visible helps nobody
            layer.set_visible(True)
    image.set_selected_layers(layers)
    image.undo_enable()


def into_scaled_image(
    image: Gimp.Image,
    results: Sequence[Enlarged],
    layout: Plan,
    selection: Gimp.Channel | None,
    keep_print_size: bool,
) -> None:
    """Scale `image` as GIMP does, and put each result above its layer.

    `selection`, a channel of the size of the scaled image, becomes its selection. GIMP's own scaling would give the
    selection a soft edge.
    """
    with _one_undo_step(image):
        wholes = _insert_wholes(image, results)
        with _scaled(image, layout, keep_print_size):
            if selection:
                _select(image, selection)
            _lay_over(image, results, wholes)


def into_new_layers(image: Gimp.Image, results: Sequence[Enlarged]) -> None:
    """Put each result above its layer; the image keeps its size."""
    with _one_undo_step(image):
        _lay_over(image, results, _insert_wholes(image, results))


def into_replaced_image(image: Gimp.Image, results: Sequence[Enlarged], layout: Plan, keep_print_size: bool) -> None:
    """Scale `image` as GIMP does, and replace the pixels of each layer by its result."""
    with _one_undo_step(image):
        selected = image.get_selected_layers()
        with _scaled(image, layout, keep_print_size):
            _replace_pixels(image, results)
        image.set_selected_layers([layer for layer in selected if layer.is_valid()])


def into_replaced_layers(image: Gimp.Image, results: Sequence[Enlarged]) -> None:
    """Scale the layers as GIMP does, and replace their pixels by the results."""
    with _one_undo_step(image):
        selected = image.get_selected_layers()
        for result in results:
            layer = result.source.layer
            with _cubic(), unlocked(layer):
                layer.scale(result.box.width, result.box.height, False)
                layer.set_offsets(result.box.x, result.box.y)
        _replace_pixels(image, results)
        image.set_selected_layers(selected)


@contextmanager
def _one_undo_step(image: Gimp.Image) -> Iterator[None]:
    image.undo_group_start()
    try:
        yield
    finally:
        image.undo_group_end()


@contextmanager
def _cubic() -> Iterator[None]:
    Gimp.context_push()
    Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
    try:
        yield
    finally:
        Gimp.context_pop()


def _new_file(image: Gimp.Image, factors: Factors) -> Gio.File | None:
    """`portrait_2x.xcf` beside `portrait.jpg`, a file that does not exist; None for an image without a name."""
    file = image.get_file() or image.get_imported_file()
    path = file.get_path() if file else None
    if path is None:
        return None
    factor = f"{factors.x:.2f}".rstrip("0").rstrip(".")
    stem = f"{Path(path).stem}_{factor}x"
    candidates = (Path(path).with_name(f"{stem}{number}.xcf") for number in ("", *(f"_{n}" for n in range(2, 1000))))
    return next((Gio.File.new_for_path(str(name)) for name in candidates if not name.exists()), None)


def _set_resolution(target: Gimp.Image, image: Gimp.Image, factors: Factors) -> None:
    """The resolution of `image`, times `factors`."""
    _ok, x, y = image.get_resolution()
    target.set_resolution(x * factors.x, y * factors.y)


@contextmanager
def _scaled(image: Gimp.Image, layout: Plan, keep_print_size: bool) -> Iterator[None]:
    """Scale the image, and let the caller change it. After that its text becomes text again."""
    with text_kept(image, layout.factors):
        with _cubic():
            scaled = image.scale(layout.frame.width, layout.frame.height)
        if not scaled:
            raise RefusalError(_("GIMP could not scale this image."))
        if keep_print_size:
            _set_resolution(image, image, layout.factors)
        yield


def _select(image: Gimp.Image, selection: Gimp.Channel) -> None:
    image.insert_channel(selection, None, 0)
    image.select_item(Gimp.ChannelOps.REPLACE, selection)
    image.remove_channel(selection)


def _insert_wholes(image: Gimp.Image, results: Sequence[Enlarged]) -> dict[int, Gimp.Layer]:
    """For each result that must be mixed into its layer: its number, and a copy of the layer above the layer."""
    wholes: dict[int, Gimp.Layer] = {}
    for number, result in enumerate(results):
        source = result.source
        if not source.mixed:
            continue
        content = source.content
        whole = blank_layer(image, source, extent(content))
        pixels.copy(content, pixels.whole(content), whole)
        _insert_above(image, whole, source)
        whole.set_offsets(*offsets(content))
        if mask := source.mask:
            copy = whole.create_mask(Gimp.AddMaskType.WHITE)
            pixels.copy(mask, pixels.whole(mask), copy)
            whole.add_mask(copy)
            _take_mask_settings(whole, source.look)
        wholes[number] = whole
    return wholes


def _lay_over(image: Gimp.Image, results: Sequence[Enlarged], wholes: dict[int, Gimp.Layer]) -> None:
    """Insert the results, or mix them into `wholes`, and hide the layers that they replace."""
    layers: list[Gimp.Layer] = []
    for number, result in enumerate(results):
        source = result.source
        if source.layer and not source.layer.is_valid():
            continue  # GIMP's scaling removes layers that become too thin
        look = replace(source.look, name=f"{source.look.name} (TinySR)")
        if whole := wholes.get(number):
            left, top = offsets(whole)
            place = result.box.moved(-left, -top)
            with unlocked(whole):  # GIMP mixes by the selection
                pixels.copy(result.layer, pixels.whole(result.layer), whole, place, undo=True)
            look.apply(whole)
            whole.set_name(look.name)
            result.layer.delete()
            layers.append(whole)
        else:
            _insert_above(image, result.layer, source)
            result.layer.set_name(look.name)
            _finish(result, look)
            layers.append(result.layer)
        for original in source.hides:
            with unlocked(original):
                original.set_visible(False)
    image.set_selected_layers(layers)


def _replace_pixels(image: Gimp.Image, results: Sequence[Enlarged]) -> None:
    with _nothing_selected(image):
        for result in results:
            layer = result.source.layer
            if layer.is_valid():  # GIMP's scaling removes layers that become too thin
                with unlocked(layer):
                    pixels.copy(result.layer, pixels.whole(result.layer), layer, undo=True)
                    if result.mask:
                        mask = layer.get_mask()
                        pixels.copy(result.mask, pixels.whole(result.mask), mask, undo=True)
            result.layer.delete()


@contextmanager
def _nothing_selected(image: Gimp.Image) -> Iterator[None]:
    """Remove the selection for a moment, as GIMP writes inside it only."""
    if Gimp.Selection.is_empty(image):
        yield
        return
    saved = Gimp.Selection.save(image)
    Gimp.Selection.none(image)
    try:
        yield
    finally:
        image.select_item(Gimp.ChannelOps.REPLACE, saved)
        image.remove_channel(saved)


def _insert_above(image: Gimp.Image, layer: Gimp.Layer, source: Source) -> None:
    if source.layer is None:
        image.insert_layer(layer, None, 0)
    else:
        image.insert_layer(layer, source.layer.get_parent(), image.get_item_position(source.layer))


def _finish(result: Enlarged, look: Look) -> None:
    """Set what only a layer inside an image can have: its place, its mask and its look."""
    layer = result.layer
    layer.set_offsets(result.box.x, result.box.y)
    if result.mask:
        layer.add_mask(result.mask)
        if not result.source.shaped:
            _take_mask_settings(layer, look)
        layer.set_edit_mask(False)
    look.apply(layer)


def _take_mask_settings(layer: Gimp.Layer, look: Look) -> None:
    layer.set_apply_mask(look.applies_mask)
    layer.set_show_mask(look.shows_mask)
    layer.set_edit_mask(False)
