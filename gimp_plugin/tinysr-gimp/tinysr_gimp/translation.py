"""Texts in the user's language. The catalogues are in `locale`; `docs/gimp.md` says how to add one."""

from gi.repository import GLib


def _(text: str) -> str:
    """`text` in the language of GIMP. Call it when the text is needed, never at import."""
    return GLib.dgettext(None, text)
