import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.cli.compare_page import write_page
from tinysr_core.errors import PictureError
from tinysr_core.images import Picture, write_picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def write(path: Path, height: int, width: int, shade: float, exif: bytes | None = None) -> Path:
    write_picture(Picture(np.full((1, 3, height, width), shade, np.float32), exif=exif), path)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[0x010F] = "Secret camera"
    small = write(tmp_path / "small & <odd>.jpg", 300, 400, 0.2, exif.tobytes())
    large = write(tmp_path / "large.png", 1200, 1600, 0.8)
    write_page(small, large, tmp_path / "page.html")
    return tmp_path / "page.html"


def test_both_pictures_are_in_the_page(page: Path) -> None:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]
    assert sorted(picture.size for picture in pictures) == [(400, 300), (1600, 1200)]


def test_the_page_needs_nothing_else_and_tells_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|<link|url\(", text)
    assert "default-src 'none'" in text
    assert "small &amp; &lt;odd&gt;.jpg" in text and "<odd>" not in text
    data = b"".join(base64.b64decode(found) for found in re.findall(r"base64,([^\"]+)", text))
    assert b"Secret camera" not in data


def test_a_page_is_written_whole_or_not_at_all(page: Path, tmp_path: Path) -> None:
    before = page.read_bytes()
    with pytest.raises(PictureError, match="There is no file"):
        write_page(tmp_path / "missing.png", tmp_path / "large.png", page)
    assert page.read_bytes() == before
    with pytest.raises(PictureError, match="cannot be written"):
        write_page(tmp_path / "large.png", tmp_path / "large.png", tmp_path / "large.png" / "page.html")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_slider_keys_and_zoom_work_in_a_browser(page: Path, tmp_path: Path) -> None:
    script = """<script>
      const told = [], clip = () => [left.style.clipPath, right.style.clipPath].join(" ");
      const at = share => { const box = picture.getBoundingClientRect(); return box.left + share * box.width; };
      const press = (type, x, target) => target.dispatchEvent(
        new PointerEvent(type, { pointerId: 1, clientX: x, bubbles: true, button: 0 }));
      HTMLElement.prototype.setPointerCapture = function () { this.held = true; };
      HTMLElement.prototype.hasPointerCapture = function () { return this.held; };
      told.push(picture.clientWidth / picture.clientHeight, left.clientWidth === right.clientWidth);
      press("pointerdown", at(0.25), picture);
      told.push(Math.round(slider.value));
      press("pointermove", at(0.75), picture);
      told.push(Math.round(slider.value));
      slider.value = 100; slider.dispatchEvent(new Event("input"));
      told.push(clip());
      dispatchEvent(new KeyboardEvent("keydown", { key: "z" }));
      told.push(picture.clientWidth * devicePixelRatio, zoom.ariaPressed, view.scrollWidth > view.clientWidth);
      dispatchEvent(new KeyboardEvent("keydown", { key: "z" }));
      told.push(picture.clientWidth <= stage.clientWidth);
      document.title = "told " + JSON.stringify(told);
    </script>"""
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text(encoding="utf-8").replace("</html>", script + "</html>"), encoding="utf-8")
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    command = [str(CHROMIUM), *(f"--{flag}" for flag in flags.split()), "--disable-component-update"]
    command += ["--window-size=800,600", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", driven.as_uri()]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = re.search(r"<title>told (.*)</title>", answer.stdout)
    assert told is not None, answer.stderr
    clip = "inset(0px) inset(0px 0px 0px"
    assert re.fullmatch(
        r'\[1\.33\d*,true,25,75,"' + re.escape(clip) + r' [\d.]+px\)",1600,"true",true,true\]', told[1]
    ), told[1]
