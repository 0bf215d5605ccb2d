"""Run a script in a real GIMP 3, with a plug-in installed as a user would install it.

    python tools/run_gimp.py --root ROOT --plugin DIR --folder DIR SCRIPT.py [ARGUMENT...]
    python tools/run_gimp.py --root ROOT --plugin DIR --folder DIR SCRIPT.sh [ARGUMENT...]

ROOT is a folder with a whole Debian that has GIMP 3; docs/gimp.md says how to make one. A Python script runs in
GIMP's own Python, without a display. A shell script starts GIMP itself, for example on a virtual display.

Every run has its own GIMP profile, `/tmp` and processes, and no network. It sees this Python, this repository and
--folder at their own paths, and can write to --folder only. The exit status is the script's. Needs Linux and root.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HOME, PROFILE = Path("/tmp/home"), Path("/tmp/profile")
"""In the sandbox, whose `/tmp` is a folder of its own."""
BATCH = """
import os, sys, traceback
import gi
gi.require_version("Gegl", "0.4")
gi.require_version("Babl", "0.1")
from gi.repository import Gegl
Gegl.init(None)
sys.argv = os.environ["SCRIPT"].split("\\x1f")
script = sys.argv[0]
sys.path.insert(0, os.path.dirname(script))
status = 1
try:
    exec(compile(open(script).read(), script, "exec"), {**globals(), "__name__": "__main__", "__file__": script})
    status = 0
except SystemExit as end:  # GIMP would call even status 0 a failure
    status = end.code if isinstance(end.code, int) else int(end.code is not None)
except BaseException:
    traceback.print_exc()
sys.stdout.flush()
open("/tmp/status", "w").write(str(status))
"""
"""What GIMP's Python runs: the script, as Python itself would run it."""
GIMP = ["gimp-console-3", "-i", "-d", "--stack-trace-mode", "never", "--quit"]
PYTHON_FU = ["--batch-interpreter", "python-fu-eval", "-b"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a Debian with GIMP 3")
    parser.add_argument("--plugin", type=Path, required=True, help="the folder of an installed plug-in")
    parser.add_argument("--folder", type=Path, required=True, help="where the script may write")
    parser.add_argument("--models", type=Path, help="what ~/.tinysr/models is in the sandbox")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--limit", type=float, default=900, metavar="SECONDS")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends GIMP and removes the temporary folder, too
    if os.geteuid() != 0:
        parser.error("only root may set up the sandbox")
    base = Path(sys.base_prefix)
    if base.is_relative_to("/usr"):
        parser.error(f"the sandbox has a /usr of its own and cannot show {base}; use a Python of uv, pyenv or conda")
    script, folder = wanted.script.absolute(), wanted.folder.absolute()
    binds = {path: path for path in (base, Path(sys.prefix), REPOSITORY)}
    if wanted.models:
        binds[wanted.models.absolute()] = HOME / ".tinysr/models"
    with tempfile.TemporaryDirectory(prefix="gimp-") as name:
        tmp = Path(name)
        tmp.chmod(0o1777)
        shutil.copytree(queried_profile(wanted.root), tmp / "profile")
        shutil.copytree(wanted.plugin, tmp / "profile" / "plug-ins" / wanted.plugin.name)
        (tmp / "home").mkdir()
        environment = [*wanted.env, "SCRIPT=" + "\x1f".join([str(script), *wanted.arguments])]
        if script.suffix == ".sh":
            command = ["bash", str(script), *wanted.arguments]
        else:
            (tmp / "batch.py").write_text(BATCH)
            command = [*GIMP, *PYTHON_FU, "exec(open('/tmp/batch.py').read())"]
        try:
            status = run(wanted.root, tmp, command, binds, folder, environment, wanted.limit)
        except subprocess.TimeoutExpired:
            print(f"The script took more than {wanted.limit:g} seconds.", file=sys.stderr)
            return 124
        if script.suffix == ".sh":
            return status
        told = tmp / "status"
        return int(told.read_text()) if told.exists() else status or 1


def queried_profile(root: Path) -> Path:
    """A GIMP profile in which GIMP has looked at its own plug-ins, which takes long; kept in `root`."""
    profile = root / "gimp-profile"
    if not profile.exists():
        with tempfile.TemporaryDirectory(prefix="gimp-", dir=root) as name:
            tmp = Path(name)
            (tmp / "profile").mkdir()
            version = subprocess.run(["chroot", root, GIMP[0], "--version"], capture_output=True, text=True, check=True)
            # nothing may be asked when GIMP's window opens
            settings = {
                "show-welcome-dialog": "no",
                "check-updates": "no",
                "color-profile-policy": "keep",
                "config-version": f'"{version.stdout.split()[-1]}"',
            }
            lines = [f"({key} {value})\n" for key, value in settings.items()]
            (tmp / "profile" / "gimprc").write_text("".join(lines))
            run(root, tmp, [*GIMP, *PYTHON_FU, "print('The profile is ready.')"], {}, None, [], 300)
            (tmp / "profile").rename(profile)
    return profile


def run(
    root: Path,
    tmp: Path,
    command: list[str],
    binds: dict[Path, Path],
    folder: Path | None,
    environment: list[str],
    limit: float,
) -> int:
    """Run `command` in `root`, with `tmp` as its `/tmp`, `binds` (outside, inside) read-only and `folder` writable."""
    mounts = [("--bind", tmp, Path("/tmp"), ""), ("-t proc", Path("proc"), Path("/proc"), "")]
    mounts += [("--rbind", Path("/dev"), Path("/dev"), "")]
    mounts += [("--bind", outside, inside, "ro") for outside, inside in binds.items()]
    mounts += [("--bind", folder, folder, "")] if folder else []
    lines = ["set -e"]
    for options, outside, inside, mode in mounts:
        source, target = shlex.quote(str(outside)), shlex.quote(f"{root}{inside}")
        lines += [f"mkdir -p {target}", f"mount {options} {source} {target}"]
        lines += [f"mount -o remount,bind,ro {target}"] if mode else []
    fixed = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"]
    fixed += [f"HOME={HOME}", f"GIMP3_DIRECTORY={PROFILE}"]
    inside = ["chroot", str(root), "env", "-i", "-C", str(folder or "/"), *fixed, *environment, *command]
    # with a command after it, the shell does not replace itself by GIMP: as process 1, it reaps what GIMP leaves
    lines += ["set +e", shlex.join(inside), "exit $?"]
    unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--net"]
    return subprocess.run([*unshare, "bash", "-c", "\n".join(lines)], timeout=limit).returncode


if __name__ == "__main__":
    sys.exit(main())
