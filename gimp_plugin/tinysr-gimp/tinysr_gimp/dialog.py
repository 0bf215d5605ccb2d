"""The dialog: made by GIMP from the procedure's arguments, but for the list of models, which is fresh every time."""

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, GObject, Gtk  # noqa: E402  # versions have to be asked for first

from .translation import _  # noqa: E402
from .worker_client import Model  # noqa: E402


def ask(procedure: Gimp.Procedure, config: Gimp.ProcedureConfig, models: tuple[Model, ...]) -> bool:
    """Let the user set `config`; False if they cancel. Needs a display."""
    GimpUi.init("tinysr-gimp")
    dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Enlarge with TinySR"))
    label, combo = _model_chooser(config, models)
    row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=6)
    row.pack_start(label, False, False, 0)
    row.pack_start(combo, True, True, 0)
    row.show_all()
    dialog.get_content_area().pack_start(row, False, False, 0)
    dialog.get_widget("detail", GimpUi.SpinScale)
    dialog.fill(["scale", "width", "height", "output", "detail", "sharpen", "anti-alias"])
    same_width = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
    same_width.add_widget(label)
    same_width.add_widget(dialog.get_widget("scale", GObject.TYPE_NONE).get_label())
    size_only = Gimp.ValueArray.new(1)
    size_only.append(GObject.Value(str, "size"))
    for side in ("width", "height"):
        dialog.set_sensitive_if_in(side, None, "scale", size_only, True)
    try:
        return dialog.run()
    finally:
        dialog.destroy()


def _model_chooser(config: Gimp.ProcedureConfig, models: tuple[Model, ...]) -> tuple[Gtk.Label, Gtk.Widget]:
    """A label and a list of today's models; a model that is no more gives way to the first."""
    store = Gtk.ListStore(str, str)
    for model in models:
        store.append([model.name, f"{model.name}  ({' '.join(f'{scale}×' for scale in model.scales)})"])
    if models and config.get_property("model") not in {model.name for model in models}:
        config.set_property("model", models[0].name)
    combo = GimpUi.prop_string_combo_box_new(config, "model", store, 0, 1)
    label = Gtk.Label.new_with_mnemonic(_("_Model"))
    label.set_xalign(0)
    label.set_mnemonic_widget(combo)
    return label, combo
