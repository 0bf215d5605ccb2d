"""The core's side of the GIMP plug-in: the worker process that upscales for it, their protocol, and the installer.

The plug-in itself is in `gimp_plugin/`. It starts `python -I -m tinysr_core.gimp.worker`.
"""

from .install import Profile, ProfileResult, check_plugin, find_profiles, install_plugin, profile_at, uninstall_plugin

__all__ = [
    "Profile",
    "ProfileResult",
    "check_plugin",
    "find_profiles",
    "install_plugin",
    "profile_at",
    "uninstall_plugin",
]
