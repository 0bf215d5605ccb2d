#!/usr/bin/env python3
"""TinySR for GIMP 3: Filters ▸ Enhance ▸ TinySR (AI Upscale)…

GIMP starts this file. It must be executable and have the name of its folder.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
gi.require_version("Babl", "0.1")
from gi.repository import Gimp  # noqa: E402  # versions have to be asked for first
from tinysr_gimp import procedure  # noqa: E402


class TinySR(Gimp.PlugIn):
    """Registers the procedure."""

    def do_query_procedures(self) -> list[str]:
        return [procedure.NAME]

    def do_create_procedure(self, name: str) -> Gimp.Procedure:
        return procedure.create(self, Path(__file__).parent)


if __name__ == "__main__":
    Gimp.main(TinySR.__gtype__, sys.argv)
