"""The plug-in as a user meets it, in GIMP's window on a virtual display."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysr_core.model.catalog import shipped_folder


@pytest.mark.slow
def test_menu_dialog_progress_undo_repeat_cancel_error(gimp: Any) -> None:
    if not (gimp.root / "usr" / "bin" / "xdotool").exists():
        pytest.skip(f"the GIMP in {gimp.root} was set up without a display (GIMP3_GUI=0)")
    pixels = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    Image.fromarray(pixels).save(gimp.folder / "face.png")
    output = replace(gimp, models=shipped_folder()).run_gui("steps.sh")
    assert "an error is shown once" in output
    shots = "menu", "search", "dialog", "split", "output", "replaced", "size", "beyond", "result", "again", "error"
    assert {f"{name}.png" for name in shots} <= {path.name for path in gimp.folder.iterdir()}
