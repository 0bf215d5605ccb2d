"""`tinysr gimp`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg, subcommand

from .terminal import say

if TYPE_CHECKING:
    from ..gimp import Profile, ProfileResult

GimpFolder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: every GIMP 3 profile found)")]


@dataclass(frozen=True)
class GimpInstall:
    """Install the plug-in in GIMP 3, for use with this Python."""

    folder: GimpFolder = None
    """GIMP's settings folder, or a plug-ins folder from its preferences."""
    python: Annotated[Path, arg(metavar="FILE", help_behavior_hint="(default: this one)")] = Path(sys.executable)
    """The Python that has TinySR."""

    def run(self) -> int:
        from ..gimp import install_plugin

        status = _show(install_plugin(_profiles(self.folder), str(self.python)), "The plug-in is installed in")
        if status == 0:
            print("Restart GIMP; the plug-in is Filters > Enhance > TinySR (AI Upscale).")
        return status


@dataclass(frozen=True)
class GimpUninstall:
    """Remove the plug-in from GIMP 3."""

    folder: GimpFolder = None
    """GIMP's settings folder, or a plug-ins folder from its preferences."""

    def run(self) -> int:
        from ..gimp import uninstall_plugin

        return _show(uninstall_plugin(_profiles(self.folder)), "The plug-in is removed from")


@dataclass(frozen=True)
class GimpCheck:
    """Check that the plug-in is installed, has this version, and runs."""

    folder: GimpFolder = None
    """GIMP's settings folder, or a plug-ins folder from its preferences."""

    def run(self) -> int:
        from ..gimp import check_plugin

        return _show(check_plugin(_profiles(self.folder)), "The plug-in works in")


@dataclass(frozen=True)
class Gimp:
    """Install the plug-in for GIMP 3, remove it, or check that it works.

    Example: tinysr gimp install
    """

    action: (
        Annotated[GimpInstall, subcommand("install")]
        | Annotated[GimpUninstall, subcommand("uninstall")]
        | Annotated[GimpCheck, subcommand("check")]
    )

    def run(self) -> int:
        return self.action.run()


def _show(results: "Sequence[ProfileResult]", success: str) -> int:
    """Print the result for each GIMP profile; return the exit status."""
    for result in results:
        if result.problem is None:
            print(f"{success} {result.profile.folder}.")
        else:
            say(f"tinysr: {result.profile.folder}: {result.problem}")
    if not results:
        say("tinysr: no GIMP 3 profile has the plug-in.")
    return 1 if any(result.problem for result in results) else 0


def _profiles(folder: Path | None) -> "list[Profile]":
    from ..gimp import find_profiles, profile_at

    return [profile_at(folder)] if folder else find_profiles(Path.home(), os.environ)
