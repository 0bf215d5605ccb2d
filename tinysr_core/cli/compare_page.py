"""An HTML page with a slider between two pictures."""

import dataclasses
import html
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from ..errors import PictureError
from ..images import Picture, read_picture, write_picture
from ..util import png_url, write_html


def write_page(left: Path, right: Path, page: Path) -> None:
    """Write a page that compares two picture files; `left` is shown at the size of `right`.

    The pictures are embedded as lossless PNG, upright and with their colour profiles. They have no EXIF: pages are
    shared, and EXIF may contain the location of a photo.

    Raises:
        PictureError: a picture cannot be read, or the page cannot be written.
    """
    pictures = read_picture(left), read_picture(right)
    values: dict[str, str | int] = {"width": pictures[1].width, "height": pictures[1].height}
    for side, path, picture in zip(("left", "right"), (left, right), pictures, strict=True):
        values[f"{side}_name"] = html.escape(path.name)
        values[f"{side}_size"] = f"{picture.width} x {picture.height}"
        values[f"{side}_data"] = _data_url(picture)
    try:
        write_html(page, f"{left.name} | {right.name}", _STYLE, _BODY.substitute(values))
    except OSError as error:
        raise PictureError(f"{page} cannot be written: {error.strerror}.") from error


def _data_url(picture: Picture) -> str:
    plain = dataclasses.replace(picture, exif=None, bits=min(picture.bits, 16))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        write_picture(plain, file)
        return png_url(file.read_bytes())


_STYLE = """\
  :root { --edge: #f4f4f4; }
  * { box-sizing: border-box; }
  body { height: 100dvh; display: flex; flex-direction: column; overflow: hidden; }
  #stage { position: relative; flex: 1; min-height: 0; }
  #view { position: absolute; inset: 0; overflow: hidden; display: grid; place-items: safe center; }
  .exact #view { overflow: auto; }
  #picture { position: relative; flex: none; touch-action: none; cursor: ew-resize; }
  .exact #picture { touch-action: auto; cursor: default; }
  #picture img { position: absolute; inset: 0; width: 100%; height: 100%; display: block; user-select: none; }
  #bar { position: absolute; top: 0; bottom: 0; width: 44px; margin-left: -22px;
    touch-action: none; cursor: ew-resize; }
  #bar::before { content: ""; position: absolute; inset: 0 21px; background: var(--edge); box-shadow: 0 0 3px #000; }
  #bar::after { content: "\\2039\\2002\\203A"; position: absolute; top: 50%; left: 2px; width: 40px; height: 40px;
    margin-top: -20px; border-radius: 50%; background: var(--edge); color: #202020; box-shadow: 0 0 4px #000;
    font: 20px/36px system-ui, sans-serif; text-align: center; }
  footer { display: grid; grid-template-columns: 1fr minmax(120px, 420px) auto 1fr; gap: 8px 16px; align-items: center;
    padding: 10px 16px; background: #181818; }
  footer div { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  footer div:last-child { text-align: right; }
  small { display: block; color: #a0a0a0; }
  input { width: 100%; accent-color: #d8d8d8; }
  button { font: inherit; color: inherit; background: #303030; border: 1px solid #505050; border-radius: 6px;
    padding: 6px 12px; cursor: pointer; }
  button[aria-pressed=true] { background: #d8d8d8; color: #202020; }
  :focus-visible { outline: 2px solid #8ab4f8; outline-offset: 2px; }
  input:focus-visible { outline: 1px solid #707070; }
  @media (max-width: 700px) { footer { grid-template-columns: 1fr 1fr; }
    footer label { order: 1; } footer button { order: 1; } }
"""

# The slider sets a share of the visible part of the picture, so that it stays in reach while a 1:1 view is scrolled. A
# 1:1 view shows one pixel of the right picture as one pixel of the screen.
_BODY = Template("""\
<div id="stage">
  <div id="view">
    <div id="picture">
      <img id="right" src="$right_data" alt="$right_name" draggable="false">
      <img id="left" src="$left_data" alt="$left_name" draggable="false">
    </div>
  </div>
  <div id="bar"></div>
</div>
<footer>
  <div>$left_name<small>$left_size</small></div>
  <label><input id="slider" type="range" min="0" max="100" step="0.1" value="50" autofocus
    aria-label="How much of $left_name is shown, from the left"></label>
  <button id="zoom" aria-pressed="false" title="One picture pixel is one screen pixel (key Z)">1:1</button>
  <div>$right_name<small>$right_size</small></div>
</footer>
<script>
  const [stage, view, picture, left, right, bar, slider, zoom] =
    ["stage", "view", "picture", "left", "right", "bar", "slider", "zoom"].map(id => document.getElementById(id));
  const width = $width, height = $height;
  let visible = [0, 0];

  function draw() {
    const exact = zoom.ariaPressed === "true";
    const scale = exact ? 1 / devicePixelRatio : Math.min(stage.clientWidth / width, stage.clientHeight / height);
    picture.style.width = width * scale + "px";
    picture.style.height = height * scale + "px";
    const outer = stage.getBoundingClientRect(), inner = picture.getBoundingClientRect();
    visible = [Math.max(outer.left, inner.left), Math.min(outer.left + view.clientWidth, inner.right)];
    const x = visible[0] + (visible[1] - visible[0]) * slider.value / 100;
    left.style.clipPath = `inset(0 $${inner.right - x}px 0 0)`;
    right.style.clipPath = `inset(0 0 0 $${x - inner.left}px)`;
    bar.style.left = x - outer.left + "px";
  }
  function move(event) {
    slider.value = 100 * (event.clientX - visible[0]) / (visible[1] - visible[0]);
    draw();
  }
  function drag(event) {
    if (event.button || (zoom.ariaPressed === "true" && event.currentTarget === picture)) return;
    event.preventDefault();
    event.currentTarget.setPointerCapture(event.pointerId);
    slider.focus();
    move(event);
  }
  function toggle() {
    zoom.ariaPressed = String(zoom.ariaPressed !== "true");
    document.body.classList.toggle("exact", zoom.ariaPressed === "true");
    draw();
    view.scrollTo((view.scrollWidth - view.clientWidth) / 2, (view.scrollHeight - view.clientHeight) / 2);
    draw();
  }
  for (const element of [picture, bar]) {
    element.addEventListener("pointerdown", drag);
    element.addEventListener("pointermove", event => element.hasPointerCapture(event.pointerId) && move(event));
  }
  slider.addEventListener("input", draw);
  view.addEventListener("scroll", draw);
  addEventListener("resize", draw);
  addEventListener("keydown", event => event.key.toLowerCase() === "z" && !event.ctrlKey && !event.metaKey && toggle());
  zoom.addEventListener("click", toggle);
  draw();
</script>
""")
