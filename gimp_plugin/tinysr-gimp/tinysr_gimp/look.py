"""The attributes of a layer, which its result takes over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gi.repository import Gimp

NOT_CARRIED = ("gimp-text-layer", "gimp-vector-layer", "gimp-link-layer")
"""Parasites that would turn a layer of pixels into another kind of layer when its file is opened."""
PLAIN_MODES = (Gimp.LayerMode.NORMAL, Gimp.LayerMode.NORMAL_LEGACY)


@dataclass(frozen=True)
class Look:
    """The attributes of a layer or a group."""

    name: str
    visible: bool = True
    opacity: float = 100.0
    mode: Gimp.LayerMode = Gimp.LayerMode.NORMAL
    blend_space: Gimp.LayerColorSpace = Gimp.LayerColorSpace.AUTO
    composite_space: Gimp.LayerColorSpace = Gimp.LayerColorSpace.AUTO
    composite_mode: Gimp.LayerCompositeMode = Gimp.LayerCompositeMode.AUTO
    color_tag: Gimp.ColorTag = Gimp.ColorTag.NONE
    locks: tuple[bool, bool, bool, bool] = (False, False, False, False)
    """Of alpha, content, position, visibility."""
    parasites: tuple[Gimp.Parasite, ...] = ()
    applies_mask: bool = True
    shows_mask: bool = False

    @classmethod
    def of(cls, layer: Gimp.Layer) -> Look:
        """Read the attributes of `layer`."""
        return cls(
            name=layer.get_name(),
            visible=layer.get_visible(),
            opacity=layer.get_opacity(),
            mode=layer.get_mode(),
            blend_space=layer.get_blend_space(),
            composite_space=layer.get_composite_space(),
            composite_mode=layer.get_composite_mode(),
            color_tag=layer.get_color_tag(),
            locks=_locks(layer),
            parasites=tuple(layer.get_parasite(name) for name in layer.get_parasite_list() if name not in NOT_CARRIED),
            applies_mask=layer.get_apply_mask(),
            shows_mask=layer.get_show_mask(),
        )

    @property
    def is_plain(self) -> bool:
        """Whether a layer with this look hides what is below it wherever it is opaque."""
        return (
            self.opacity == 100.0 and self.mode in PLAIN_MODES and self.composite_mode == Gimp.LayerCompositeMode.AUTO
        )

    def apply(self, layer: Gimp.Layer) -> None:
        """Give this look to a layer that is in its image. The locks come last, as nothing can be written after them."""
        layer.set_opacity(self.opacity)
        layer.set_mode(self.mode)
        layer.set_blend_space(self.blend_space)
        layer.set_composite_space(self.composite_space)
        layer.set_composite_mode(self.composite_mode)
        layer.set_visible(self.visible)
        layer.set_color_tag(self.color_tag)
        for parasite in self.parasites:
            layer.attach_parasite(parasite)
        _set_locks(layer, self.locks)


@contextmanager
def unlocked(layer: Gimp.Layer) -> Iterator[None]:
    """Unlock `layer` and its groups for a moment: GIMP kills a plug-in that writes to locked ones."""
    chain = [layer]
    while parent := chain[-1].get_parent():
        chain.append(parent)
    locks = [_locks(item) for item in chain]
    for item in chain:
        _set_locks(item, (False, False, False, False))
    try:
        yield
    finally:
        for item, before in zip(chain, locks, strict=True):
            _set_locks(item, before)


def _locks(layer: Gimp.Layer) -> tuple[bool, bool, bool, bool]:
    return (
        layer.get_lock_alpha(),
        layer.get_lock_content(),
        layer.get_lock_position(),
        layer.get_lock_visibility(),
    )


def _set_locks(layer: Gimp.Layer, locks: tuple[bool, bool, bool, bool]) -> None:
    alpha, content, position, visibility = locks
    if locks == _locks(layer):
        return
    layer.set_lock_alpha(alpha)
    layer.set_lock_content(content)
    layer.set_lock_position(position)
    layer.set_lock_visibility(visibility)
