"""The preview in the dialog: a part of the picture before and after, at the size of the result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GdkPixbuf, Gegl, Gimp, GLib, Gtk  # noqa: E402  # versions have to be asked for first

from . import pixels  # noqa: E402
from .enlarge import beyond_scale  # noqa: E402
from .geometry import Box, Factors  # noqa: E402
from .sources import Source  # noqa: E402
from .translation import _  # noqa: E402
from .worker_client import Worker, WorkerError  # noqa: E402

VIEW = 384
"""Side of the preview on the screen, in pixels of the result."""
MAX_CROP = 224
"""Side of the crop that the network enlarges, without its margin."""
MARGIN = 16
"""How many pixels around the crop the network sees."""
THUMBNAIL = 96
MAX_THUMBNAIL = 1024
"""The longest side of a thumbnail that GIMP makes."""
PAUSE_MILLISECONDS = 120
"""How long a setting must stay unchanged before the preview is computed."""
LIGHT, DARK = 0xFFFFFFFF, 0x000000FF
CHECKS = 0x999999, 0x666666


@dataclass(frozen=True)
class View:
    """What to show."""

    source: Source
    factors: Factors
    same_size: bool
    """Whether the result is reduced to the size of the source."""
    network: dict[str, object]

    @property
    def shown(self) -> Factors:
        """How much larger the result is than the source."""
        return Factors(1, 1) if self.same_size else self.factors

    def crop(self, centre: tuple[float, float]) -> Box:
        """The part of the source around `centre` (x and y, 0 to 1), in the source's own coordinates."""
        region = self.source.box
        width = max(1, min(region.width, MAX_CROP, round(VIEW / self.shown.x)))
        height = max(1, min(region.height, MAX_CROP, round(VIEW / self.shown.y)))
        x = round(centre[0] * region.width - width / 2)
        y = round(centre[1] * region.height - height / 2)
        return Box(
            region.x + min(max(x, 0), region.width - width),
            region.y + min(max(y, 0), region.height - height),
            width,
            height,
        )


class Preview(Gtk.Box):
    """Shows one view after the other. The network runs in a thread, so that the dialog never waits for it."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        self._worker = worker
        self._view: View | None = None
        self._centre = (0.5, 0.5)
        self._split = VIEW // 2
        self._pictures: tuple[GdkPixbuf.Pixbuf, GdkPixbuf.Pixbuf] | None = None
        self._timer = 0
        self._busy = False
        self._stale = False
        self._closed = False
        self._build()

    def show_view(self, view: View | None) -> None:
        """Show `view` as soon as it is computed; None: there is nothing to show."""
        if view and (self._view is None or view.source is not self._view.source):
            self._draw_thumbnail(view.source)
        self._view = view
        self._update_soon()

    def close(self) -> None:
        """Show nothing more, and drop what is being computed."""
        self._closed = True
        if self._timer:
            GLib.source_remove(self._timer)
            self._timer = 0

    def _build(self) -> None:
        titles = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL)
        titles.pack_start(_small_label(_("Before")), False, False, 0)
        titles.pack_end(_small_label(_("After")), False, False, 0)
        self._image = Gtk.Image()
        self._image.set_size_request(VIEW, VIEW)
        picture = Gtk.EventBox()
        picture.add(self._image)
        picture.add_events(Gdk.EventMask.BUTTON_PRESS_MASK | Gdk.EventMask.BUTTON1_MOTION_MASK)
        picture.set_tooltip_text(_("Drag to move the border between before and after"))
        picture.connect("button-press-event", self._move_split)
        picture.connect("motion-notify-event", self._move_split)
        frame = Gtk.Frame()
        frame.add(picture)
        self._thumbnail = Gtk.Image()
        self._thumbnail_picture: GdkPixbuf.Pixbuf | None = None
        overview = Gtk.EventBox(halign=Gtk.Align.START)
        overview.add(self._thumbnail)
        overview.add_events(Gdk.EventMask.BUTTON_PRESS_MASK | Gdk.EventMask.BUTTON1_MOTION_MASK)
        overview.set_tooltip_text(_("Click to choose the part that the preview shows"))
        overview.connect("button-press-event", self._move_crop)
        overview.connect("motion-notify-event", self._move_crop)
        self._status = _small_label("")
        self._status.set_line_wrap(True)
        self._status.set_max_width_chars(34)
        below = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=12)
        below.pack_start(overview, False, False, 0)
        below.pack_start(self._status, True, True, 0)
        self.pack_start(titles, False, False, 0)
        self.pack_start(frame, False, False, 0)
        self.pack_start(below, False, False, 0)

    def _update_soon(self) -> None:
        if self._timer:
            GLib.source_remove(self._timer)
        self._timer = GLib.timeout_add(PAUSE_MILLISECONDS, self._update)

    def _update(self) -> bool:
        self._timer = 0
        if self._busy:
            self._stale = True
        elif self._view:
            self._draw_place(self._view)
            self._start(self._view)
        return False

    def _start(self, view: View) -> None:
        """Read the crop, which only this thread may do, and start a thread that computes."""
        content = view.source.content
        crop = view.crop(self._centre)
        seen = Box(crop.x - MARGIN, crop.y - MARGIN, crop.width + 2 * MARGIN, crop.height + 2 * MARGIN)
        seen = seen.intersection(view.source.box) or crop
        size = Box(0, 0, seen.width, seen.height).scaled(view.shown)
        inner = crop.moved(-seen.x, -seen.y).scaled(view.shown)
        request = {
            "width": seen.width,
            "height": seen.height,
            "channels": pixels.CHANNELS[pixels.encoding(content)],
            "result_width": size.width,
            "result_height": size.height,
        }
        before = request | {"type": "resize"}
        after = request | {"type": "preview", "factor": view.factors.largest} | view.network
        picture = b"".join(pixels.read(content, seen))
        to_pixbuf = _Converter(content, size, inner)
        self._busy, self._stale = True, False
        self._status.set_text(_("Computing…"))

        def work() -> None:
            try:
                with self._worker.lock:
                    interpolated = b"".join(self._worker.compute(before, [picture], _ignore).strips)
                    result = self._worker.compute(after, [picture], _ignore)
                    results = [interpolated, b"".join(result.strips)]
                text = _("Shown at 1:1. Drag the border to compare. Click the small picture to see another part.")
                if result.networks:
                    text = f"{beyond_scale(result.networks, view.factors.largest)}\n{text}"
                GLib.idle_add(self._finish, to_pixbuf, results, text)
            except WorkerError as error:
                GLib.idle_add(self._finish, to_pixbuf, [], str(error))

        threading.Thread(target=work, daemon=True).start()

    def _finish(self, to_pixbuf: Callable[[bytes], GdkPixbuf.Pixbuf], results: list[bytes], text: str) -> bool:
        self._busy = False
        if self._closed:
            return False
        if results:
            before, after = (to_pixbuf(result) for result in results)
            self._pictures = before, after
            self._draw()
        self._status.set_text(text)
        if self._stale:
            self._update_soon()
        return False

    def _draw(self) -> None:
        """Draw the picture before at the left of the border, and after at its right."""
        if not self._pictures:
            return
        before, after = self._pictures
        width, height = after.get_width(), after.get_height()
        split = min(max(self._split - (VIEW - width) // 2, 0), width)
        shown = after.copy()
        before.copy_area(0, 0, split, height, shown, 0, 0)
        for x, colour in ((split - 1, DARK), (split, LIGHT), (split + 1, DARK)):
            if 0 <= x < width:
                shown.new_subpixbuf(x, 0, 1, height).fill(colour)
        self._image.set_from_pixbuf(shown)

    def _move_split(self, _widget: Gtk.Widget, event: Gdk.Event) -> bool:
        self._split = int(event.x) - (self._image.get_allocated_width() - VIEW) // 2
        self._draw()
        return True

    def _draw_thumbnail(self, source: Source) -> None:
        # get_sub_thumbnail crashes when called from Python: it frees memory twice
        content, part = source.content, source.box
        all_of_it = pixels.whole(content)
        part = part.intersection(all_of_it) or all_of_it
        factor = min(THUMBNAIL / max(part.width, part.height), MAX_THUMBNAIL / max(all_of_it.width, all_of_it.height))
        size = all_of_it.scaled(Factors(factor, factor))
        picture = content.get_thumbnail(size.width, size.height, Gimp.PixbufTransparency.SMALL_CHECKS)
        shown = part.scaled(Factors(factor, factor)).intersection(Box(0, 0, picture.get_width(), picture.get_height()))
        if shown:
            picture = picture.new_subpixbuf(shown.x, shown.y, shown.width, shown.height)
        self._thumbnail_picture = picture
        self._thumbnail.set_from_pixbuf(picture)

    def _draw_place(self, view: View) -> None:
        """Draw the frame of the crop in the thumbnail."""
        if not self._thumbnail_picture:
            return
        shown = self._thumbnail_picture.copy()
        region, crop = view.source.box, view.crop(self._centre)
        across, down = shown.get_width() / region.width, shown.get_height() / region.height
        place = crop.moved(-region.x, -region.y).scaled(Factors(across, down))
        for colour, inset in ((DARK, 0), (LIGHT, 1)):
            _outline(shown, place, colour, inset)
        self._thumbnail.set_from_pixbuf(shown)

    def _move_crop(self, widget: Gtk.Widget, event: Gdk.Event) -> bool:
        if self._view and self._thumbnail_picture:
            width, height = self._thumbnail_picture.get_width(), self._thumbnail_picture.get_height()
            left = (widget.get_allocated_width() - width) / 2
            top = (widget.get_allocated_height() - height) / 2
            self._centre = _share(event.x - left, width), _share(event.y - top, height)
            self._draw_place(self._view)
            self._update_soon()
        return True


class _Converter:
    """Converts floats from the worker to pictures for the screen. GEGL converts the colours in this process."""

    def __init__(self, content: Gimp.Layer, size: Box, inner: Box) -> None:
        self._format = pixels.format_name(content)
        self._size = Gegl.Rectangle.new(0, 0, size.width, size.height)
        self._inner = inner

    def __call__(self, floats: bytes) -> GdkPixbuf.Pixbuf:
        buffer = Gegl.Buffer.new(self._format, 0, 0, self._size.width, self._size.height)
        buffer.set(self._size, self._format, floats)
        inner = self._inner
        part = Gegl.Rectangle.new(inner.x, inner.y, inner.width, inner.height)
        values = buffer.get(part, 1.0, "R'G'B'A u8", Gegl.AbyssPolicy.CLAMP)
        picture = GdkPixbuf.Pixbuf.new_from_bytes(
            GLib.Bytes.new(values), GdkPixbuf.Colorspace.RGB, True, 8, inner.width, inner.height, inner.width * 4
        )
        nearest = GdkPixbuf.InterpType.NEAREST
        return picture.composite_color_simple(inner.width, inner.height, nearest, 255, 8, *CHECKS)


def _outline(picture: GdkPixbuf.Pixbuf, place: Box, colour: int, inset: int) -> None:
    canvas = Box(0, 0, picture.get_width(), picture.get_height())
    box = Box(place.x + inset, place.y + inset, place.width - 2 * inset, place.height - 2 * inset)
    if box.width < 1 or box.height < 1:
        return
    sides = (
        Box(box.x, box.y, box.width, 1),
        Box(box.x, box.y + box.height - 1, box.width, 1),
        Box(box.x, box.y, 1, box.height),
        Box(box.x + box.width - 1, box.y, 1, box.height),
    )
    for side in sides:
        if line := side.intersection(canvas):
            picture.new_subpixbuf(line.x, line.y, line.width, line.height).fill(colour)


def _share(place: float, length: int) -> float:
    return min(max(place / length, 0.0), 1.0)


def _small_label(text: str) -> Gtk.Label:
    label = Gtk.Label(label=text, xalign=0, yalign=0)
    label.get_style_context().add_class("dim-label")
    return label


def _ignore(share: float) -> None:
    """The preview has no progress bar."""
