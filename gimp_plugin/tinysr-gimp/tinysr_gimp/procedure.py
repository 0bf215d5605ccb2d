"""The procedure `plug-in-tinysr`: its arguments, and what happens from the call to the picture."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from gi.repository import Gegl, Gimp, Gio, GLib, GObject

from .enlarge import enlarge
from .geometry import MAX_SIDE
from .sources import RefusalError
from .translation import _
from .worker_client import Model, Worker, WorkerError, worker_command

NAME = "plug-in-tinysr"
DEFAULT_MODEL = "portrait"
MAX_LOG_BYTES = 2**20


def create(plugin: Gimp.PlugIn, folder: Path) -> Gimp.ImageProcedure:
    """Describe the procedure to GIMP; `folder` is the plug-in's own.

    GIMP calls this when it first meets the plug-in and at every run, so it does nothing slow. It keeps what it was told
    until `tinysr-gimp.py` changes; therefore the model is a text and not a choice between those of today.
    """
    procedure = Gimp.ImageProcedure.new(plugin, NAME, Gimp.PDBProcType.PLUGIN, run, folder)
    procedure.set_image_types("*")
    procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE | Gimp.ProcedureSensitivityMask.DRAWABLES)
    procedure.set_menu_label(_("Tiny_SR…"))
    procedure.add_menu_path("<Image>/Filters/Enhance")
    procedure.set_icon_file(Gio.File.new_for_path(str(folder / "icon.png")))
    procedure.set_documentation(
        _("Enlarge layers with a small neural network made for portraits"),
        _(
            "Enlarges the selected layers, or the selection's part of them, in their own precision and colour profile. "
            "The network runs in a Python of its own, which `tinysr gimp install` records."
        ),
        None,
    )
    procedure.set_attribution("The TinySR authors", "The TinySR authors", "2026")
    _add_arguments(procedure)
    return procedure


def _add_arguments(procedure: Gimp.ImageProcedure) -> None:
    read_write = GObject.ParamFlags.READWRITE
    scale = Gimp.Choice.new()
    for number, factor in enumerate((2, 3, 4)):
        scale.add(f"x{factor}", number, f"{factor}×", "")
    scale.add("size", 3, _("Given size"), _("The width and height below"))
    output = Gimp.Choice.new()
    output.add("new-image", 0, _("New image"), _("An image of the enlarged layers alone"))
    output.add("scale-image", 1, _("Scale this image"), _("The image is scaled; the results become layers in it"))
    output.add("new-layer", 2, _("New layer"), _("An enlarged layer; the image keeps its size"))
    output.add("same-size-layer", 3, _("New layer of the same size"), _("Enlarged, then brought back to the old size"))
    procedure.add_string_argument("model", _("_Model"), _("Name or path of a TinySR model"), DEFAULT_MODEL, read_write)
    procedure.add_choice_argument("scale", _("_Enlarge"), _("How much larger"), scale, "x2", read_write)
    size_help = _("In pixels, for “Given size”; 0 keeps the proportions")
    procedure.add_int_argument("width", _("_Width"), size_help, 0, MAX_SIDE, 0, read_write)
    procedure.add_int_argument("height", _("Hei_ght"), size_help, 0, MAX_SIDE, 0, read_write)
    procedure.add_choice_argument("output", _("O_utput"), _("Where the result goes"), output, "new-image", read_write)
    detail_help = _("1 is the model as it is; towards 0, fewer invented details and closer to the pixels")
    procedure.add_double_argument("detail", _("_Detail"), detail_help, 0.0, 1.0, 1.0, read_write)
    procedure.add_boolean_argument(
        "sharpen", _("Shar_pen"), _("Unsharp mask on the result: radius 1.2, 100 %"), False, read_write
    )
    procedure.add_boolean_argument(
        "anti-alias", _("_Anti-alias"), _("Smooth stair-steps in the result"), False, read_write
    )
    procedure.add_image_return_value(
        "result-image", _("Result"), _("The image with the results; they are its selected layers"), False, read_write
    )


def run(
    procedure: Gimp.ImageProcedure,
    run_mode: Gimp.RunMode,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    folder: Path,
) -> Gimp.ValueArray:
    """Called by GIMP. Every outcome is a return value: GIMP shows an error once, as a dialog or to the caller."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # GIMP's Cancel kills the group that this process leads, and so the worker
    log = _log_file()
    status = Gimp.PDBStatusType
    try:
        Gegl.init(None)
        with Worker(worker_command(folder, dict(os.environ)), log) as worker:
            models = worker.hello().models
            if run_mode == Gimp.RunMode.INTERACTIVE and not _asked(procedure, config, models):
                return procedure.new_return_values(status.CANCEL, None)
            image = enlarge(worker, image, drawables, config)
        if run_mode != Gimp.RunMode.NONINTERACTIVE:
            if config.get_property("output") == "new-image":
                Gimp.Display.new(image)
            Gimp.displays_flush()
        return _success(procedure, image)
    except RefusalError as refusal:
        return _failure(procedure, status.CALLING_ERROR, str(refusal))
    except WorkerError as error:
        return _failure(procedure, status.EXECUTION_ERROR, str(error))
    except Exception as error:
        with log.open("a", encoding="utf-8") as stream:
            traceback.print_exc(file=stream)
        text = _("TinySR failed ({error}). Details are in {log}.").format(error=error, log=log)
        return _failure(procedure, status.EXECUTION_ERROR, text)


def _asked(procedure: Gimp.Procedure, config: Gimp.ProcedureConfig, models: tuple[Model, ...]) -> bool:
    from . import dialog  # needs a display, which the other run modes may lack

    return dialog.ask(procedure, config, models)


def _success(procedure: Gimp.Procedure, image: Gimp.Image) -> Gimp.ValueArray:
    values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
    values.remove(1)
    values.insert(1, GObject.Value(Gimp.Image, image))
    return values


def _failure(procedure: Gimp.Procedure, status: Gimp.PDBStatusType, text: str) -> Gimp.ValueArray:
    Gimp.progress_end()
    return procedure.new_return_values(status, GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0))


def _log_file() -> Path:
    """Where the worker's messages go: one file for all runs, begun anew when it has grown large."""
    log = Path(Gimp.directory()) / "tmp" / "tinysr.log"
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.unlink(missing_ok=True)
    return log
