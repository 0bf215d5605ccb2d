"""The procedure `plug-in-tinysr`: its arguments, and what a call does."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from gi.repository import Gegl, Gimp, Gio, GLib, GObject

from .choices import Choices, inputs, outputs, scales, steps
from .enlarge import check_model, enlarge_all
from .geometry import MAX_SIDE
from .options import DEFAULT_MODEL, Options
from .sources import RefusalError
from .translation import _
from .worker_client import Worker, WorkerError, read_runtime

NAME = "plug-in-tinysr"
MAX_LOG_BYTES = 2**20


def create(plugin: Gimp.PlugIn, folder: Path) -> Gimp.ImageProcedure:
    """Describe the procedure to GIMP; `folder` is the plug-in's own.

    GIMP calls this when it first finds the plug-in and at every run, so it does nothing slow. GIMP caches the
    description until `tinysr-gimp.py` changes. Therefore the model is a text, and not a choice between models.
    """
    procedure = Gimp.ImageProcedure.new(plugin, NAME, Gimp.PDBProcType.PLUGIN, run, folder)
    procedure.set_image_types("*")
    procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE | Gimp.ProcedureSensitivityMask.DRAWABLES)
    procedure.set_menu_label(_("Tiny_SR (AI Upscale)…"))
    procedure.add_menu_path("<Image>/Filters/Enhance")
    procedure.set_icon_file(Gio.File.new_for_path(str(folder / "icon.png")))
    procedure.set_documentation(
        _("AI super resolution: upscale, enlarge or resize layers with a small neural network made for portraits"),
        _(
            "Enlarges the selected layers, or the selection's part of them, in their own precision and colour profile. "
            "The network runs in its own Python, which `tinysr gimp install` records."
        ),
        None,
    )
    procedure.set_attribution("The TinySR authors", "The TinySR authors", "2026")
    _add_arguments(procedure)
    return procedure


def _add_arguments(procedure: Gimp.ImageProcedure) -> None:
    read_write = GObject.ParamFlags.READWRITE
    procedure.add_string_argument("model", _("_Model"), _("Name or path of a TinySR model"), DEFAULT_MODEL, read_write)
    procedure.add_choice_argument("input", _("_Input"), _("What to enlarge"), _choice(inputs()), "layers", read_write)
    procedure.add_choice_argument("scale", _("_Enlarge"), _("How much to enlarge"), _choice(scales()), "x2", read_write)
    size_help = _("In pixels, for “Custom size”; 0 keeps the aspect ratio")
    procedure.add_int_argument("width", _("_Width"), size_help, 0, MAX_SIDE, 0, read_write)
    procedure.add_int_argument("height", _("Hei_ght"), size_help, 0, MAX_SIDE, 0, read_write)
    procedure.add_boolean_argument(
        "keep-print-size",
        _("_Keep the print size"),
        _("Raise the resolution with the size, so that a print keeps its size"),
        False,
        read_write,
    )
    procedure.add_choice_argument(
        "output", _("O_utput"), _("Where to put the result"), _choice(outputs()), "new-image", read_write
    )
    detail_help = _("1 is the full model; lower values invent less detail and stay closer to the pixels")
    procedure.add_double_argument("detail", _("_Detail"), detail_help, 0.0, 1.0, 1.0, read_write)
    procedure.add_boolean_argument(
        "auto-clean",
        _("Clean automaticall_y"),
        _("TinySR measures how much compression and noise to remove"),
        True,
        read_write,
    )
    clean_help = _("Remove JPEG blocks and noise: 0 keeps them, 1 is for heavy compression")
    procedure.add_double_argument("clean", _("Clea_n"), clean_help, 0.0, 1.0, 0.0, read_write)
    for name, label, explanation in steps():
        procedure.add_boolean_argument(name, label, explanation, False, read_write)
    procedure.add_boolean_argument(
        "all-images",
        _("All open ima_ges"),
        _("Also enlarge the selected layers of all other open images"),
        False,
        read_write,
    )
    procedure.add_image_return_value(
        "result-image", _("Result"), _("The image with the results, which are its selected layers"), False, read_write
    )


def _choice(choices: Choices) -> Gimp.Choice:
    choice = Gimp.Choice.new()
    for number, (value, label, explanation) in enumerate(choices):
        choice.add(value, number, label, explanation)
    return choice


def run(
    procedure: Gimp.ImageProcedure,
    run_mode: Gimp.RunMode,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    folder: Path,
) -> Gimp.ValueArray:
    """Called by GIMP. Errors are return values too: GIMP shows them in a dialog, or passes them to the caller."""
    status = Gimp.PDBStatusType
    log = Path(Gimp.directory()) / "tmp" / "tinysr.log"
    try:
        _lead_a_group()
        _shorten(log)
        Gegl.init(None)
        runtime = read_runtime(folder, dict(os.environ))
        if run_mode == Gimp.RunMode.INTERACTIVE:
            from . import dialog  # needs a display, which the other run modes may lack

            image = dialog.enlarge_interactively(procedure, image, drawables, config, runtime, log)
            if image is None:
                return procedure.new_return_values(status.CANCEL, None)
        else:
            with Worker(runtime, log) as worker:
                check_model(worker.hello().models, Options.of(config))
                image = enlarge_all(worker, image, drawables, config, run_mode != Gimp.RunMode.NONINTERACTIVE)
        if run_mode != Gimp.RunMode.NONINTERACTIVE:
            Gimp.displays_flush()
        return _success(procedure, image)
    except RefusalError as refusal:
        return _failure(procedure, status.CALLING_ERROR, str(refusal))
    except WorkerError as error:
        return _failure(procedure, status.EXECUTION_ERROR, str(error))
    except Exception as error:
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            traceback.print_exc(file=stream)
        text = _("TinySR failed ({error}). Details are in {log}.").format(error=error, log=log)
        return _failure(procedure, status.EXECUTION_ERROR, text)


def _lead_a_group() -> None:
    """Lead a process group: GIMP's Cancel then kills the worker, too. Windows has no such groups."""
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):  # it already leads one
            os.setpgid(0, 0)


def _shorten(log: Path) -> None:
    """Delete a large log. Windows refuses this while another GIMP writes to it."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_LOG_BYTES:
            log.unlink()


def _success(procedure: Gimp.Procedure, image: Gimp.Image) -> Gimp.ValueArray:
    values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
    values.remove(1)
    values.insert(1, GObject.Value(Gimp.Image, image))
    return values


def _failure(procedure: Gimp.Procedure, status: Gimp.PDBStatusType, text: str) -> Gimp.ValueArray:
    Gimp.progress_end()
    return procedure.new_return_values(status, GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0))
