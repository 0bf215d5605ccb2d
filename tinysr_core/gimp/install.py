"""Installs the GIMP 3 plug-in: finds GIMP's profiles, copies the plug-in there, records a Python that runs the worker.

The plug-in is in `gimp_plugin/tinysr-gimp` of a clone, or in the installed package. GIMP's own Python has no torch, so
the plug-in starts `tinysr_core.gimp.worker` with the command in its `runtime.json`. The installer runs the command once
before it writes that file.
"""

import importlib.metadata
import json
import os
import re
import secrets
import shlex
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..errors import RequestError, TinySRError

CORE = Path(__file__).parents[1]
PLUGIN_NAME = "tinysr-gimp"
FLATPAK_APP = "org.gimp.GIMP"
HELLO_SECONDS = 120
"""How long a worker may take to start and to load torch, on a cold disk."""
Host = Literal["native", "flatpak", "snap"]
PLUGINS = "plug-ins"
_WHICH_FOLDER = "Give the folder that GIMP 3 shows in Edit > Preferences > Folders > Plug-ins."
_PROFILE_NAME = re.compile(r"3\.\d+")
_NOT_INSTALLED = shutil.ignore_patterns("__pycache__", "*.po")
_BOOT = (
    "import runpy, site, sys\n"
    "for folder in sys.argv[1:]: site.addsitedir(folder)\n"
    "del sys.argv[1:]\n"
    "runpy.run_module('tinysr_core.gimp.worker', run_name='__main__')"
)
"""Starts the worker where `python -I -m` does not find it: in a clone, or in the user's own site-packages."""


@dataclass(frozen=True)
class Profile:
    """The folder with a user's settings and plug-ins for one version of GIMP 3."""

    folder: Path
    host: Host = "native"
    """The sandbox of that GIMP, which limits what the plug-in can start."""

    @property
    def plugin(self) -> Path:
        """Where the plug-in goes."""
        return self.folder / PLUGINS / PLUGIN_NAME


@dataclass(frozen=True)
class ProfileResult:
    """What was done or found in one profile."""

    profile: Profile
    installed: bool
    """Whether the plug-in is installed now."""
    command: tuple[str, ...] = ()
    """The command that the plug-in starts; empty if it is not installed or has no command."""
    problem: str | None = None
    """What is wrong and what to do; None if nothing is wrong."""


def find_profiles(home: Path, environment: Mapping[str, str], platform: str = sys.platform) -> list[Profile]:
    """All GIMP 3 profiles of a user, newest version first within each place.

    Looks at `GIMP3_DIRECTORY`, and at the folders of GIMP's own builds, Flatpak, snap, the Microsoft Store and macOS.
    """
    named = environment.get("GIMP3_DIRECTORY")
    profiles = [Profile(home / named)] if named else []
    for folder, host in _settings_folders(home, environment, platform):
        versions = [path for path in folder.glob("3.*") if _PROFILE_NAME.fullmatch(path.name) and path.is_dir()]
        versions.sort(key=lambda path: int(path.name[2:]), reverse=True)
        profiles += [Profile(path, host) for path in versions]
    unique: dict[Path, Profile] = {}
    for profile in profiles:
        unique.setdefault(profile.folder.resolve(), profile)
    return list(unique.values())


def profile_at(folder: Path) -> Profile:
    """The profile whose settings folder or plug-ins folder is `folder`.

    Raises:
        RequestError: there is no such folder, or GIMP 3 does not look for plug-ins in it.
    """
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}. {_WHICH_FOLDER}")
    folder = folder.absolute()
    if folder.name == PLUGIN_NAME and folder.parent.name == PLUGINS:
        folder = folder.parent
    if folder.name == PLUGINS:
        return Profile(folder.parent)
    if _PROFILE_NAME.fullmatch(folder.name) or any((folder / name).exists() for name in (PLUGINS, "gimprc")):
        return Profile(folder)
    raise RequestError(f"GIMP 3 does not look for plug-ins in {folder}. {_WHICH_FOLDER}")


def install_plugin(profiles: Sequence[Profile], python: str = sys.executable) -> list[ProfileResult]:
    """Copy the plug-in into each profile, and record a command with which `python` runs the worker.

    `python` is a path, or a name that is looked up in PATH. An older plug-in is replaced completely. If the worker does
    not answer, nothing is copied.

    Raises:
        TinySRError: there is no profile.
    """
    if not profiles:
        raise TinySRError(
            "No GIMP 3 profile was found. Start GIMP 3 once and close it, or give --folder the folder that its "
            "Edit > Preferences > Folders > Plug-ins shows."
        )
    python = str(Path(shutil.which(python) or python).absolute())  # the links of a venv must stay
    return [_install(profile, python) for profile in profiles]


def uninstall_plugin(profiles: Sequence[Profile]) -> list[ProfileResult]:
    """Remove the plug-in from each profile that has it; returns the results for these."""
    results: list[ProfileResult] = []
    for profile in profiles:
        if profile.plugin.exists():
            try:
                shutil.rmtree(profile.plugin)
                results.append(ProfileResult(profile, installed=False))
            except OSError as error:
                results.append(ProfileResult(profile, installed=True, problem=_cannot_write(profile, error)))
    return results


def check_plugin(profiles: Sequence[Profile]) -> list[ProfileResult]:
    """Check in each profile whether the plug-in is there, complete, of this version, and able to start the worker."""
    return [_check(profile) for profile in profiles]


def plugin_source() -> Path:
    """The plug-in's folder in this package, or beside it in a clone."""
    installed = CORE / "gimp_plugin" / PLUGIN_NAME
    return installed if installed.is_dir() else CORE.parent / "gimp_plugin" / PLUGIN_NAME


def _settings_folders(home: Path, environment: Mapping[str, str], platform: str) -> list[tuple[Path, Host]]:
    if platform == "win32":
        roaming = Path(environment.get("APPDATA", home / "AppData" / "Roaming"))
        store = Path(environment.get("LOCALAPPDATA", home / "AppData" / "Local")) / "Packages"
        packaged = sorted(store.glob("*GIMP*/LocalCache/Roaming/GIMP"))
        return [(roaming / "GIMP", "native"), *((folder, "native") for folder in packaged)]
    if platform == "darwin":
        return [(home / "Library" / "Application Support" / "GIMP", "native")]
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "GIMP"
    in_flatpak = environment.get("FLATPAK_ID") == FLATPAK_APP
    flatpaks = [home / ".local/share/flatpak/app" / FLATPAK_APP, Path("/var/lib/flatpak/app") / FLATPAK_APP]
    # Flatpak's GIMP can use ~/.config/GIMP. If there is no other GIMP, the profile there is Flatpak's.
    only_flatpak = any(path.exists() for path in flatpaks) and not shutil.which("gimp", path=environment.get("PATH"))
    return [
        (config, "flatpak" if only_flatpak and not in_flatpak else "native"),
        (home / ".var/app" / FLATPAK_APP / "config/GIMP", "native" if in_flatpak else "flatpak"),
        (home / "snap/gimp/current/.config/GIMP", "snap"),
    ]


def _install(profile: Profile, python: str) -> ProfileResult:
    problem = "No command to start TinySR was tried."
    for command in worker_commands(python):
        problem = _handshake(profile, command)
        if problem is None:
            try:
                _copy(profile, command)
            except OSError as error:
                return ProfileResult(profile, profile.plugin.exists(), problem=_cannot_write(profile, error))
            return ProfileResult(profile, installed=True, command=tuple(command))
    return ProfileResult(profile, profile.plugin.exists(), problem=problem)


def worker_commands(python: str) -> list[list[str]]:
    """Commands that may start the worker of this package, the simplest first.

    A Python other than the running one must have TinySR installed.
    """
    plain = [python, "-I", "-m", "tinysr_core.gimp.worker"]
    if Path(python) != Path(sys.executable).absolute():
        return [plain]
    folders = [str(CORE.parent)]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [plain, [python, "-I", "-c", _BOOT, *folders]]


def _copy(profile: Profile, command: Sequence[str]) -> None:
    """Put the plug-in in its place. GIMP ignores the temporary folders: no file in them has the name of its folder."""
    target = profile.plugin
    token = secrets.token_hex(4)
    new, old = target.with_name(f".{PLUGIN_NAME}-{token}.new"), target.with_name(f".{PLUGIN_NAME}-{token}.old")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # with new file times, unlike those in a wheel: GIMP queries a plug-in again only if its file time has changed
        shutil.copytree(plugin_source(), new, ignore=_NOT_INSTALLED, copy_function=shutil.copyfile)
        (new / f"{PLUGIN_NAME}.py").chmod(0o755)  # wheels and zip files may have lost the run bit
        runtime = {
            "version": __version__,
            "command": list(command),
            "installer": _command_line(command[0]),
            "help": _help_address(),
        }
        (new / "runtime.json").write_text(json.dumps(runtime, indent=2) + "\n", encoding="utf-8")
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _command_line(python: str) -> str:
    """The command line that installs the plug-in again with `python`."""
    script = Path(python).with_name("tinysr.exe" if os.name == "nt" else "tinysr")
    command = [str(script)] if script.exists() else [python, "-m", "tinysr_core.cli"]
    command += ["gimp", "install"]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def _help_address() -> str:
    """The address of the documentation: in the clone, else from the metadata of the package; empty if unknown."""
    page = CORE.parent / "docs" / "gimp.md"
    if page.is_file():
        return page.as_uri()
    try:
        urls = importlib.metadata.metadata("tinysr").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    return dict(url.split(", ", 1) for url in urls).get("Documentation", "")


def _differing_file(plugin: Path) -> Path | None:
    """A file of the installed plug-in that is missing or differs from the shipped one."""
    source = plugin_source()
    for folder, folders, files in os.walk(source):
        ignored = _NOT_INSTALLED(folder, [*folders, *files])
        folders[:] = [name for name in folders if name not in ignored]
        for name in files:
            shipped = Path(folder, name)
            installed = plugin / shipped.relative_to(source)
            if name not in ignored and not (installed.is_file() and installed.read_bytes() == shipped.read_bytes()):
                return installed
    return None


def _check(profile: Profile) -> ProfileResult:
    if not profile.plugin.is_dir():
        return ProfileResult(
            profile, installed=False, problem="TinySR is not installed here; run `tinysr gimp install`."
        )
    again = "run `tinysr gimp install` again"
    try:
        runtime: dict[str, Any] = json.loads((profile.plugin / "runtime.json").read_text(encoding="utf-8"))
        version, command = str(runtime["version"]), tuple(str(part) for part in runtime["command"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return ProfileResult(
            profile, installed=True, problem=f"The plug-in's runtime.json is damaged ({error}); {again}."
        )
    script = profile.plugin / f"{PLUGIN_NAME}.py"
    if not os.access(script, os.X_OK):
        problem = f"{script} is missing or not executable, so GIMP ignores it; {again}."
    elif version != __version__:
        problem = f"The plug-in has version {version}, this is TinySR {__version__}; {again}."
    elif differing := _differing_file(profile.plugin):
        problem = f"{differing} is missing or does not belong to this version; {again}."
    else:
        problem = _handshake(profile, command)
    return ProfileResult(profile, True, command, problem)


def _handshake(profile: Profile, command: Sequence[str]) -> str | None:
    """Start the worker as GIMP does, and let it say hello and load torch. Returns what is wrong, or None."""
    try:
        # stdin is empty, so the worker exits as soon as it is ready for pictures
        answer = subprocess.run(
            _confined(profile.host, command), stdin=subprocess.DEVNULL, capture_output=True, timeout=HELLO_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} does not run ({error}). {_advice(profile)}"
    lines = answer.stdout.splitlines()
    try:
        hello, last = json.loads(lines[0]), json.loads(lines[-1])
        location = Path(hello["location"])
    except (ValueError, KeyError, TypeError, IndexError):
        reason = answer.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"status {answer.returncode}"]
        return f"{command[0]} does not run TinySR ({reason[0]}). {_advice(profile)}"
    if last["type"] == "error":
        return f"{last['title']}: {last['hint']}"
    if location.resolve() != CORE.resolve():
        return (
            f"{command[0]} finds another TinySR first, {hello['version']} in {location}; remove that one "
            "(`pip uninstall tinysr`), or run its own `tinysr gimp install`."
        )
    return None


def _confined(host: Host, command: Sequence[str]) -> list[str]:
    """`command`, run in the sandbox of GIMP's plug-ins."""
    if host == "flatpak" and shutil.which("flatpak"):
        return ["flatpak", "run", f"--command={command[0]}", FLATPAK_APP, *command[1:]]
    if host == "snap" and shutil.which("snap"):
        return ["snap", "run", "--shell", "gimp", "-c", shlex.join(command)]
    return list(command)


def _advice(profile: Profile) -> str:
    if profile.host == "flatpak":
        return (
            "Flatpak's sandbox hides the system's Python. Install TinySR inside it: `flatpak run --command=python3 "
            f"{FLATPAK_APP} -m venv ~/tinysr-gimp`, then `flatpak run --command=$HOME/tinysr-gimp/bin/pip "
            f"{FLATPAK_APP} install {_package()}`, then `flatpak run --command=$HOME/tinysr-gimp/bin/tinysr "
            f"{FLATPAK_APP} gimp install`."
        )
    if profile.host == "snap":
        return (
            "The snap's sandbox hides the system's Python and hidden folders. Install a Python and TinySR in a folder "
            "of your home whose name does not begin with a dot, and run its `tinysr gimp install`; see docs/gimp.md."
        )
    return f"Install TinySR in that Python (`pip install {_package()}`), or leave out --python."


def _package() -> str:
    """What to pass to `pip install` to get TinySR."""
    return str(CORE.parent) if (CORE.parent / "pyproject.toml").is_file() else f"tinysr-{__version__}-py3-none-any.whl"


def _cannot_write(profile: Profile, error: OSError) -> str:
    return f"{profile.plugin} cannot be changed ({error.strerror}); close GIMP and try again."
