"""HTML pages that need no other file and no network."""

import base64
import html
from pathlib import Path
from string import Template

from .files import atomic_write

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: dark; }
  body { margin: 0; background: #202020; color: #d8d8d8; font: 14px/1.4 system-ui, sans-serif; }
$style</style>
<body>
$body</body>
</html>
""")


def write_html(path: Path, title: str, style: str, body: str) -> None:
    """Write a page atomically. It may contain scripts, styles and `data:` pictures, and loads nothing else.

    Args:
        path: the file to write.
        title: plain text.
        style: CSS, in addition to dark colours and the font.
        body: HTML.

    Raises:
        OSError: the page cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(_PAGE.substitute(title=html.escape(title), style=style, body=body), encoding="utf-8")


def png_url(png: bytes) -> str:
    """The contents of a PNG file as a `data:` URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
