"""The dialog: the settings, their explanations, the resulting sizes, and the preview."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, GLib, GObject, Gtk, Pango  # noqa: E402  # versions have to be asked for first

from .choices import Choices, inputs, outputs, scales, steps  # noqa: E402
from .enlarge import check, check_model, enlarge_all, lay_out  # noqa: E402
from .geometry import MAX_SIDE, Box, Plan  # noqa: E402
from .options import DEFAULT_MODEL, Options  # noqa: E402
from .preview import Preview, View  # noqa: E402
from .sources import RefusalError, Sources  # noqa: E402
from .translation import _  # noqa: E402
from .worker_client import Hello, Model, Runtime, Worker, WorkerError  # noqa: E402

MM_PER_INCH = 25.4
NEW_SIZE = ("new-image", "scale-image", "replace-image")
"""The outputs that make an image of another size."""


def enlarge_interactively(
    procedure: Gimp.Procedure,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    runtime: Runtime,
    log: Path,
) -> Gimp.Image | None:
    """Let the user edit `config`, and run it. After a failure the dialog comes back with all its settings.

    Returns the image with the results, or None if the user cancels. Needs a display.

    Raises:
        WorkerError: the worker does not start.
    """
    GimpUi.init("tinysr-gimp")
    problem = ""
    while True:
        with Worker(runtime, log) as worker:
            hello = worker.hello()
            with _Dialog(procedure, image, drawables, config, worker, hello, runtime) as dialog:
                if not dialog.run(problem):
                    return None
            try:
                with worker.lock:  # until the last preview is computed
                    return enlarge_all(worker, image, drawables, config, interactive=True)
            except (RefusalError, WorkerError) as error:
                Gimp.progress_end()
                if not image.is_valid():
                    raise
                problem = str(error)


class _Dialog:
    """One appearance of the dialog; a context manager that removes everything it made."""

    def __init__(
        self,
        procedure: Gimp.Procedure,
        image: Gimp.Image,
        drawables: Sequence[Gimp.Drawable],
        config: Gimp.ProcedureConfig,
        worker: Worker,
        hello: Hello,
        runtime: Runtime,
    ) -> None:
        self._image = image
        self._drawables = drawables
        self._config = config
        self._models = {model.name: model for model in hello.models}
        self._open = ExitStack()
        self._sources: dict[tuple[str, str], Sources | RefusalError] = {}
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Enlarge with TinySR"))
        self._open.callback(self._dialog.destroy)
        self._preview = Preview(worker)
        self._open.callback(self._preview.close)
        self._notes = [_use_a_model_that_exists(config, self._models)]
        if config.get_property("scale") != "size":  # a size that is left from another image
            config.set_property("width", 0)
            config.set_property("height", 0)
        self._build(hello, runtime)
        self._refreshing = False
        handler = config.connect("notify", self._changed)
        self._open.callback(config.disconnect, handler)

    def __enter__(self) -> _Dialog:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, problem: str) -> bool:
        """Show the dialog, with the error of the last run; False if the user cancels."""
        self._notes.append(problem)
        self._changed()
        return self._dialog.run()

    def _build(self, hello: Hello, runtime: Runtime) -> None:
        config = self._config
        rows = _Rows()
        self._message = _explanation()
        self._message.get_style_context().remove_class("dim-label")
        rows.add_wide(self._message)
        models = [(name, name, _model_explanation(model)) for name, model in self._models.items()]
        self._model = _Choice(config, "model", models)
        for file in hello.damaged:
            self._model.add_disabled(_("{file} is damaged").format(file=file))
        rows.add_row(_("_Model"), self._model)
        self._input = _Choice(config, "input", inputs())
        rows.add_row(_("_Input"), self._input)
        self._scale = _Choice(config, "scale", scales(), explained=False)
        rows.add_row(_("_Enlarge"), self._scale)
        self._size = _SizeEntry(config, self._image)
        rows.add_wide(self._size.widget)
        self._sizes = _explanation()
        rows.add_row("", self._sizes)
        self._keep_print_size = self._dialog.get_widget("keep-print-size", GObject.TYPE_NONE)
        rows.add_row("", self._keep_print_size)
        self._output = _Choice(config, "output", outputs())
        rows.add_row(_("O_utput"), self._output)
        self._detail = self._dialog.get_widget("detail", GimpUi.SpinScale)
        rows.add_wide(self._detail)
        self._auto_clean = self._dialog.get_widget("auto-clean", GObject.TYPE_NONE)
        rows.add_row("", self._auto_clean)
        self._clean = self._dialog.get_widget("clean", GimpUi.SpinScale)
        rows.add_wide(self._clean)
        for name, *_texts in steps():
            rows.add_row("", self._dialog.get_widget(name, GObject.TYPE_NONE))
        if len(Gimp.get_images()) > 1:
            rows.add_row("", self._dialog.get_widget("all-images", GObject.TYPE_NONE))
        if runtime.help:
            rows.add_row("", Gtk.LinkButton(uri=runtime.help, label=_("Help"), halign=Gtk.Align.START))
        columns = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=18, border_width=12)
        columns.pack_start(rows, False, False, 0)
        columns.pack_start(self._preview, False, False, 0)
        columns.show_all()
        self._dialog.get_content_area().pack_start(columns, True, True, 0)

    def _changed(self, *_: object) -> None:
        if not self._refreshing:
            self._refreshing = True
            try:
                self._refresh()
            finally:
                self._refreshing = False

    def _refresh(self) -> None:
        """Update everything that depends on the settings."""
        model = self._models.get(self._config.get_property("model"))
        if model and not model.has_detail:
            self._config.set_property("detail", 1.0)
        if model and not model.has_clean:
            self._config.set_property("auto-clean", True)
        options = Options.of(self._config)
        self._model.refresh()
        self._input.refresh()
        self._output.refresh()
        self._scale.refresh({"size", *(f"x{scale}" for scale in model.scales)} if model else None)
        self._detail.set_sensitive(model is None or model.has_detail)
        self._auto_clean.set_sensitive(model is None or model.has_clean)
        self._clean.set_sensitive(not options.auto_clean)
        self._keep_print_size.set_sensitive(options.output in NEW_SIZE)
        self._size.widget.set_visible(options.scale == "size")
        notes = [note for note in self._notes if note]
        try:
            sources, layout = self._laid_out(options)
            self._sizes.set_text(self._in_words(layout, options))
            check_model(self._models.values(), options)
            possible = True
            self._preview.show_view(
                View(sources.items[0], layout.factors, options.output == "same-size-layer", options.network)
            )
        except RefusalError as refusal:
            notes.append(str(refusal))
            possible = False
            self._preview.show_view(None)
        self._message.set_markup("\n".join(f"<b>{GLib.markup_escape_text(note)}</b>" for note in notes))
        self._message.set_visible(bool(notes))
        self._dialog.set_response_sensitive(Gtk.ResponseType.OK, possible)

    def _laid_out(self, options: Options) -> tuple[Sources, Plan]:
        key = options.input, options.output if options.output.startswith("replace-") else ""
        if key not in self._sources:
            try:
                sources = Sources(self._image, self._drawables, options.input, options.output)
                self._open.callback(sources.close)
                self._sources[key] = sources
            except RefusalError as refusal:
                self._sources[key] = refusal
        sources = self._sources[key]
        if isinstance(sources, RefusalError):
            raise sources
        subject = lay_out(self._image, sources, replace(options, scale="x2")).subject
        self._size.fill(subject, wanted=options.scale == "size")
        options = Options.of(self._config)
        check(self._image, options)
        return sources, lay_out(self._image, sources, options)

    def _in_words(self, layout: Plan, options: Options) -> str:
        """The sizes before and after, and the size of a print."""
        before = layout.subject
        result = layout.frame if options.output in NEW_SIZE else None
        wide, tall = (
            (result.width, result.height)
            if result
            else (round(before.width * layout.factors.x), round(before.height * layout.factors.y))
        )
        if options.output == "same-size-layer":
            wide, tall = before.width, before.height
        _ok, x_resolution, y_resolution = self._image.get_resolution()
        if options.keep_print_size and result:
            x_resolution, y_resolution = x_resolution * layout.factors.x, y_resolution * layout.factors.y
        return _("{old_width} × {old_height} → {width} × {height} px, {across} × {down} mm at {ppi} ppi").format(
            old_width=before.width,
            old_height=before.height,
            width=wide,
            height=tall,
            across=round(wide / x_resolution * MM_PER_INCH),
            down=round(tall / y_resolution * MM_PER_INCH),
            ppi=round(x_resolution),
        )


class _Rows(Gtk.Grid):
    """Labels at the left, widgets at the right."""

    def __init__(self) -> None:
        super().__init__(row_spacing=6, column_spacing=12)
        self._count = 0

    def add_row(self, label: str, child: Gtk.Widget) -> None:
        """Append a row."""
        if label:
            title = Gtk.Label.new_with_mnemonic(label)
            title.set_xalign(0)
            title.set_valign(Gtk.Align.START)
            title.set_margin_top(6)
            title.set_mnemonic_widget(child.combo if isinstance(child, _Choice) else child)
            self.attach(title, 0, self._count, 1, 1)
        self.attach(child, 1, self._count, 1, 1)
        self._count += 1

    def add_wide(self, child: Gtk.Widget) -> None:
        """Append a row without a label."""
        self.attach(child, 0, self._count, 2, 1)
        self._count += 1


class _Choice(Gtk.Box):
    """A drop-down list, with an explanation of the chosen entry below it."""

    def __init__(
        self,
        config: Gimp.ProcedureConfig,
        name: str,
        choices: Choices,
        explained: bool = True,
    ) -> None:
        super().__init__(orientation=Gtk.Orientation.VERTICAL, spacing=2)
        self._config = config
        self._name = name
        self._store = Gtk.ListStore(str, str, str, bool)  # value, label, explanation, whether the entry can be chosen
        for choice in choices:
            self._store.append([*choice, True])
        self.combo = Gtk.ComboBox(model=self._store, id_column=0)
        cell = Gtk.CellRendererText(ellipsize=Pango.EllipsizeMode.END, width_chars=36, max_width_chars=36)
        self.combo.pack_start(cell, True)
        self.combo.add_attribute(cell, "text", 1)
        self.combo.add_attribute(cell, "sensitive", 3)
        self.combo.connect("changed", self._choose)
        self.pack_start(self.combo, False, False, 0)
        self._text = _explanation()
        if explained:
            self.pack_start(self._text, False, False, 0)

    def add_disabled(self, label: str) -> None:
        """Append an entry that cannot be chosen."""
        self._store.append(["", label, "", False])

    def refresh(self, possible: set[str] | None = None) -> None:
        """Show the value of `config`; disable the entries that are not `possible`."""
        value = self._config.get_property(self._name)
        for row in self._store:
            if possible is not None:
                row[3] = row[0] in possible
            if row[0] == value:
                self._text.set_text(row[2])
        self.combo.set_active_id(value)

    def _choose(self, _combo: Gtk.ComboBox) -> None:
        value = self.combo.get_active_id()
        if value and value != self._config.get_property(self._name):
            self._config.set_property(self._name, value)


class _SizeEntry:
    """Width and height with units and a chain, as in *Image ▸ Scale Image*."""

    def __init__(self, config: Gimp.ProcedureConfig, image: Gimp.Image) -> None:
        self._config = config
        self._image = image
        self._entry: GimpUi.SizeEntry | None = None
        self._setting = False
        self.widget = Gtk.Box()
        self.widget.set_no_show_all(True)

    def fill(self, subject: Box, wanted: bool) -> None:
        """Show the size in `config`, or the size of `subject` if it has none. Does nothing unless `wanted`."""
        if not wanted:
            return
        width, height = (self._config.get_property(side) for side in ("width", "height"))
        if not width and not height:
            width, height = subject.width, subject.height
        elif not width:
            width = max(1, round(height * subject.width / subject.height))
        elif not height:
            height = max(1, round(width * subject.height / subject.width))
        if self._entry is None:
            self._entry = self._make(width, height, subject)
            self._entry.show_all()
            self.widget.pack_start(self._entry, False, False, 0)
        self._setting = True
        for field, side in enumerate((width, height)):
            if round(self._entry.get_refval(field)) != side:
                self._entry.set_refval(field, side)
        self._setting = False
        self._store(width, height)

    def _make(self, width: int, height: int, subject: Box) -> GimpUi.SizeEntry:
        _ok, x_resolution, y_resolution = self._image.get_resolution()
        entry = GimpUi.coordinates_new(
            *(Gimp.Unit.pixel(), "%n", True, True, 10, GimpUi.SizeEntryUpdatePolicy.SIZE, True, True),
            *(_("_Width"), width, x_resolution, 1, MAX_SIDE, 0, subject.width),
            *(_("Hei_ght"), height, y_resolution, 1, MAX_SIDE, 0, subject.height),
        )
        entry.connect("refval-changed", self._changed)
        entry.connect("value-changed", self._changed)
        return entry

    def _changed(self, entry: GimpUi.SizeEntry) -> None:
        if not self._setting:
            self._store(round(entry.get_refval(0)), round(entry.get_refval(1)))

    def _store(self, width: int, height: int) -> None:
        for side, value in (("width", width), ("height", height)):
            if self._config.get_property(side) != value:
                self._config.set_property(side, value)


def _use_a_model_that_exists(config: Gimp.ProcedureConfig, models: dict[str, Model]) -> str:
    """Replace a model that is missing by the default; returns a note for the user, or nothing."""
    wanted = config.get_property("model")
    if wanted in models or not models or Path(wanted).is_file():
        return ""
    name = DEFAULT_MODEL if DEFAULT_MODEL in models else next(iter(models))
    config.set_property("model", name)
    text = _("The model “{wanted}” is missing or damaged. “{name}” is used instead.")
    return text.format(wanted=wanted, name=name)


def _model_explanation(model: Model) -> str:
    """One line about a model: translated for the shipped models, from the model card for others."""
    known = {
        "portrait": _("Crisp eyes, hair, skin and cloth, for clean pictures"),
        "fidelity": _("As close to the pixels as possible, a little softer"),
        "photo": _("Like portrait, for JPEG and phone pictures"),
    }
    return known.get(model.name, model.description)


def _explanation() -> Gtk.Label:
    label = Gtk.Label(xalign=0)
    label.set_line_wrap(True)
    label.set_max_width_chars(50)
    label.set_width_chars(50)
    label.get_style_context().add_class("dim-label")
    return label
