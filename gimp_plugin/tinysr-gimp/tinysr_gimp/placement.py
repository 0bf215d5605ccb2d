"""Puts the results where the user wants them. All is computed before: here the image changes, in one undo step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gi.repository import Gimp

from . import pixels
from .geometry import Box, Factors, Plan
from .sources import RefusalError, Source, offsets
from .translation import _


@dataclass(frozen=True)
class Enlarged:
    """A source and its result."""

    source: Source
    box: Box
    """Where the result lies in its image, and its size."""
    pixels: bytes
    mask: bytes | None
    """The enlarged layer mask, one value per pixel."""


def into_new_image(image: Gimp.Image, results: list[Enlarged], frame: Box) -> Gimp.Image:
    """A new image with the precision, profile, resolution and metadata of `image`, and one layer per result."""
    base = Gimp.ImageBaseType.RGB if image.get_base_type() == Gimp.ImageBaseType.INDEXED else image.get_base_type()
    new = Gimp.Image.new_with_precision(frame.width, frame.height, base, image.get_precision())
    new.undo_disable()
    if profile := image.get_color_profile():
        new.set_color_profile(profile)
    _ok, x_resolution, y_resolution = image.get_resolution()
    new.set_resolution(x_resolution, y_resolution)
    new.set_unit(image.get_unit())
    if metadata := image.get_metadata():
        new.set_metadata(metadata)
    if comment := image.get_parasite("gimp-comment"):
        new.attach_parasite(comment)
    layers = []
    for result in results:
        layer = _layer(new, result, result.source.layer.get_name())
        new.insert_layer(layer, None, len(layers))
        _finish(layer, result)
        layers.append(layer)
    new.set_selected_layers(layers)
    new.undo_enable()
    return new


def into_scaled_image(image: Gimp.Image, results: list[Enlarged], layout: Plan, hide_originals: bool) -> None:
    """Scale all of `image` as GIMP does, and lay each result over its layer.

    `hide_originals` where the results stand for whole layers: a translucent one would else show twice.
    """
    layers = [_layer(image, result, _result_name(result)) for result in results]
    with _one_undo_step(image):
        texts = _text_copies(image, layout.factors)
        Gimp.context_push()
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        scaled = image.scale(layout.frame.width, layout.frame.height)
        Gimp.context_pop()
        if not scaled:
            raise RefusalError(_("GIMP could not scale this image."))
        for layer, result in zip(layers, results, strict=True):
            _insert_above(image, layer, result, hide_originals)
        for text, copy in texts:
            _keep_text(image, text, copy, layout.factors.x)
        image.set_selected_layers(layers)


def into_new_layers(image: Gimp.Image, results: list[Enlarged], hide_originals: bool) -> None:
    """Lay each result over its layer; the image keeps its size. `hide_originals` as above."""
    layers = [_layer(image, result, _result_name(result)) for result in results]
    with _one_undo_step(image):
        for layer, result in zip(layers, results, strict=True):
            _insert_above(image, layer, result, hide_originals)
        image.set_selected_layers(layers)


@contextmanager
def _one_undo_step(image: Gimp.Image) -> Iterator[None]:
    image.undo_group_start()
    try:
        yield
    finally:
        image.undo_group_end()


def _result_name(result: Enlarged) -> str:
    return f"{result.source.layer.get_name()} (TinySR)"


def _layer(image: Gimp.Image, result: Enlarged, name: str) -> Gimp.Layer:
    """A layer with the result's pixels and its source's look. Not yet part of `image`, so nothing is to be undone."""
    source = result.source.layer
    content = result.source.content
    kinds = (
        (Gimp.ImageType.GRAY_IMAGE, Gimp.ImageType.GRAYA_IMAGE)
        if content.is_gray()
        else (Gimp.ImageType.RGB_IMAGE, Gimp.ImageType.RGBA_IMAGE)
    )
    kind = kinds[content.has_alpha()]
    size = result.box.width, result.box.height
    layer = Gimp.Layer.new(image, name, *size, kind, source.get_opacity(), source.get_mode())
    layer.set_blend_space(source.get_blend_space())
    layer.set_composite_space(source.get_composite_space())
    layer.set_composite_mode(source.get_composite_mode())
    layer.set_color_tag(source.get_color_tag())
    layer.set_offsets(result.box.x, result.box.y)
    pixels.write(layer, result.pixels, pixels.encoding(content))
    return layer


def _insert_above(image: Gimp.Image, layer: Gimp.Layer, result: Enlarged, hide_original: bool) -> None:
    source = result.source.layer
    image.insert_layer(layer, source.get_parent(), image.get_item_position(source))
    _finish(layer, result)
    if hide_original and not source.get_lock_visibility():
        source.set_visible(False)


def _finish(layer: Gimp.Layer, result: Enlarged) -> None:
    """What only a layer in an image can have: its place and its mask."""
    layer.set_offsets(result.box.x, result.box.y)
    if result.mask is None:
        return
    source = result.source.content
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    pixels.write(mask, result.mask, pixels.encoding(mask))
    layer.set_apply_mask(source.get_apply_mask())
    layer.set_show_mask(source.get_show_mask())
    layer.set_edit_mask(False)


def _text_copies(image: Gimp.Image, factors: Factors) -> list[tuple[Gimp.TextLayer, Gimp.TextLayer]]:
    """Text layers and copies of them, as `image.scale` stretches their pixels: in GIMP 3.0 they are text no more after
    it, in 3.2 they would fall back to the old size when they are edited.

    Left out is what a change of the font size cannot do: stretching, masks, locked layers.
    """
    if abs(factors.x / factors.y - 1) > 0.01:
        return []
    return [
        (text, text.copy())
        for text in _descendants(image.get_layers())
        if isinstance(text, Gimp.TextLayer)
        and text.is_text_layer()
        and not (text.get_mask() or text.get_lock_content() or text.get_lock_position())
    ]


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


def _descendants(layers: list[Gimp.Layer]) -> Iterator[Gimp.Layer]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _descendants(layer.get_children())
