"""Puts the results where the user wants them. All is computed before: here the image changes, in one undo step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gi.repository import Gimp, Gio

from . import pixels
from .geometry import Box, Factors, Plan
from .look import Look, unlocked
from .sources import RefusalError, Source, extent, keeps_text, offsets
from .translation import _

OWN_SETTERS = ("icc-profile", "simulation-icc-profile", "gimp-image-metadata", "gimp-metadata")
"""Parasites of images that have functions of their own."""


@dataclass(frozen=True)
class Enlarged:
    """A source and its result."""

    source: Source
    box: Box
    """Where the result lies in its image, and its size."""
    layer: Gimp.Layer
    """The result, not yet part of the image."""
    mask: Gimp.LayerMask | None
    """Its mask, not yet added."""


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
    """Put the results into `image`, which is new and empty, with the groups around them that were chosen.

    `group_masks`: the enlarged masks of such groups, and where they lie in the image.
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
        for layer in layers:  # nobody asks for an image in which nothing is seen
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
    """Scale all of `image` as GIMP does, and lay each result over its layer.

    `selection`, which has the size of the scaled image and is not yet part of it, becomes its selection: GIMP's own
    grows a soft edge.
    """
    with _one_undo_step(image):
        wholes = _insert_wholes(image, results)
        with _scaled(image, layout, keep_print_size):
            if selection:
                _select(image, selection)
            _lay_over(image, results, wholes)


def into_new_layers(image: Gimp.Image, results: Sequence[Enlarged]) -> None:
    """Lay each result over its layer; the image keeps its size."""
    with _one_undo_step(image):
        _lay_over(image, results, _insert_wholes(image, results))


def into_replaced_image(image: Gimp.Image, results: Sequence[Enlarged], layout: Plan, keep_print_size: bool) -> None:
    """Scale all of `image` as GIMP does, and put each result in the place of its layer's pixels."""
    with _one_undo_step(image):
        selected = image.get_selected_layers()
        with _scaled(image, layout, keep_print_size):
            _replace_pixels(image, results)
        image.set_selected_layers([layer for layer in selected if layer.is_valid()])


def into_replaced_layers(image: Gimp.Image, results: Sequence[Enlarged]) -> None:
    """Scale the layers as GIMP does, and put each result in the place of its layer's pixels."""
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
    """`portrait_2x.xcf` beside `portrait.jpg`; None for an image without a name. Never a file that exists."""
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
    """Scale the image; after what is done with it, put its text back as text."""
    texts = _text_copies(image, layout.factors)
    with _cubic():
        scaled = image.scale(layout.frame.width, layout.frame.height)
    if not scaled:
        raise RefusalError(_("GIMP could not scale this image."))
    if keep_print_size:
        _set_resolution(image, image, layout.factors)
    yield
    for text, copy in texts:
        _keep_text(image, text, copy, layout.factors.x)


def _select(image: Gimp.Image, selection: Gimp.Channel) -> None:
    image.insert_channel(selection, None, 0)
    image.select_item(Gimp.ChannelOps.REPLACE, selection)
    image.remove_channel(selection)


def _insert_wholes(image: Gimp.Image, results: Sequence[Enlarged]) -> dict[int, Gimp.Layer]:
    """Copies of the whole layers, over these, for the results that have to be mixed in; by the numbers of those."""
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
    """Insert the results, or mix them into `wholes`; then hide what they stand for."""
    layers: list[Gimp.Layer] = []
    for number, result in enumerate(results):
        source = result.source
        if source.layer and not source.layer.is_valid():
            continue  # too thin to survive GIMP's scaling
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
            if layer.is_valid():  # not too thin to survive GIMP's scaling
                with unlocked(layer):
                    pixels.copy(result.layer, pixels.whole(result.layer), layer, undo=True)
                    if result.mask:
                        mask = layer.get_mask()
                        pixels.copy(result.mask, pixels.whole(result.mask), mask, undo=True)
            result.layer.delete()


@contextmanager
def _nothing_selected(image: Gimp.Image) -> Iterator[None]:
    """Keep the selection away for a moment, as GIMP writes inside it only."""
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
    """What only a layer in an image can have: its place, its mask and its look."""
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


def _text_copies(image: Gimp.Image, factors: Factors) -> list[tuple[Gimp.TextLayer, Gimp.TextLayer]]:
    """Text layers and copies of them, as `image.scale` stretches their pixels: in GIMP 3.0 they are text no more after
    it, in 3.2 they would fall back to the old size when they are edited.
    """
    if factors.stretches:
        return []
    return [(text, text.copy()) for text in _descendants(image.get_layers()) if keeps_text(text)]


def _keep_text(image: Gimp.Image, text: Gimp.TextLayer, copy: Gimp.TextLayer, factor: float) -> None:
    """Put `copy`, made before the image was scaled, in the place of `text`, unless GIMP has enlarged its font."""
    size, unit = copy.get_font_size()
    if text.is_text_layer() and text.get_font_size()[0] != size:
        copy.delete()
        return
    width, height = copy.get_width(), copy.get_height()
    name = text.get_name()
    image.insert_layer(copy, text.get_parent(), image.get_item_position(text))
    copy.set_font_size(size * factor, unit)
    copy.set_indent(copy.get_indent() * factor)
    copy.set_line_spacing(copy.get_line_spacing() * factor)
    copy.set_letter_spacing(copy.get_letter_spacing() * factor)
    if (copy.get_width(), copy.get_height()) == (width, height):  # a box of fixed size
        copy.resize(width * factor, height * factor)
    copy.set_offsets(*offsets(text))
    copy.set_visible(text.get_visible())
    image.remove_layer(text)
    copy.set_name(name)


def _descendants(layers: Sequence[Gimp.Layer]) -> Iterator[Gimp.Layer]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _descendants(layer.get_children())
