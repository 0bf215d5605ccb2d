"""Text layers in an image that is scaled: which of them stay text, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gi.repository import Gegl, Gimp

from . import pixels
from .geometry import Factors

SIZES_IN_MARKUP = ("size=", "font=", "font_desc=", "rise=", "letter_spacing=", "line_height=")
"""Attributes that a larger font for the whole layer would leave as they are."""


def keeps_text(layer: Gimp.Layer) -> bool:
    """Whether `layer` stays text, with a larger font.

    Sizes in the markup and the widths of outlines would not grow with the font, so such layers do not. Neither do
    layers that are locked or have a mask.
    """
    return (
        isinstance(layer, Gimp.TextLayer)
        and layer.is_text_layer()
        and not any(word in (layer.get_markup() or "") for word in SIZES_IN_MARKUP)
        and not (layer.get_mask() or layer.get_lock_content() or layer.get_lock_position())
        and not _is_outlined(layer)
    )


@contextmanager
def text_kept(image: Gimp.Image, factors: Factors) -> Iterator[None]:
    """Scale `image` inside this context; then its text layers become text again.

    `image.scale` stretches the pixels of text layers. In GIMP 3.0 they are no text layers then; in GIMP 3.2 they return
    to their old size when the user edits them. If the aspect ratio changes, the stretched pixels stay.
    """
    texts = [] if factors.stretches else [layer for layer in _descendants(image.get_layers()) if keeps_text(layer)]
    copies = [(text, text.copy()) for text in texts]
    yield
    for text, copy in copies:
        _replace(image, text, copy, factors.x)


def _replace(image: Gimp.Image, text: Gimp.TextLayer, copy: Gimp.TextLayer, factor: float) -> None:
    """Replace `text` by `copy`, made before the image was scaled, unless GIMP has enlarged the font itself."""
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
    copy.set_offsets(*text.get_offsets()[1:])
    copy.set_visible(text.get_visible())
    image.remove_layer(text)
    copy.set_name(name)


def _is_outlined(text: Gimp.TextLayer) -> bool:
    if hasattr(text, "get_outline"):
        return int(text.get_outline()) != 0
    # GIMP 3.0 has no such function. An outline keeps its colour when the text gets another one.
    sketch = Gimp.Image.new(1, 1, Gimp.ImageBaseType.RGB)
    try:
        copy = Gimp.Layer.new_from_drawable(text, sketch)
        sketch.insert_layer(copy, None, 0)
        copy.set_color(Gegl.Color.new("lime"))
        return not pixels.has_one_colour(copy)
    finally:
        sketch.delete()


def _descendants(layers: Sequence[Gimp.Layer]) -> Iterator[Gimp.Layer]:
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from _descendants(layer.get_children())
