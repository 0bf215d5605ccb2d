"""Build what is handed out: wheel and sdist, the node pack for ComfyUI, the plug-in for GIMP.

    python tools/archives.py dist

The pack holds what git tracks and `.comfyignore` does not name, as the Comfy Registry makes it; it unzips into a folder
`tinysr` for `ComfyUI/custom_nodes`. The plug-in unzips into GIMP's `plug-ins` folder; it still has to be told which
Python has TinySR, as `tinysr gimp install` does.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGIN = Path("gimp_plugin/tinysr-gimp")


def tracked(*options: str) -> set[Path]:
    """Files that git tracks and that are there, below the root."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", *options]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return {Path(name) for name in names if (ROOT / name).is_file()}


def pack_files() -> set[Path]:
    """What the node pack consists of."""
    return tracked() - tracked("--ignored", "--exclude-from", str(ROOT / ".comfyignore"))


def plugin_files() -> set[Path]:
    """What GIMP's plug-in consists of."""
    return {path for path in tracked() if path.is_relative_to(PLUGIN)}


def write_zip(archive: Path, files: Iterable[Path], inside: Path, outside: Path = Path()) -> None:
    """Zip `files`, their paths below `outside` put below `inside`. Modes stay: the plug-in must be executable."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for path in sorted(files):
            stream.write(ROOT / path, inside / path.relative_to(outside))


def build(kind: str, folder: Path) -> Path:
    """Build the `wheel` or the `sdist` with the setuptools of this Python, from a copy of what git tracks."""
    code = f"import sys, setuptools.build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as tree:
        for path in tracked():
            Path(tree, path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, Path(tree, path))
        command = [sys.executable, "-c", code, folder]
        output = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout
    return folder / output.split()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("dist"))
    folder: Path = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    wheel, sdist = build("wheel", folder), build("sdist", folder)
    version = wheel.name.split("-")[1]
    pack, plugin = folder / f"tinysr-comfyui-{version}.zip", folder / f"tinysr-gimp-{version}.zip"
    write_zip(pack, pack_files(), Path("tinysr"))
    write_zip(plugin, plugin_files(), Path(PLUGIN.name), PLUGIN)
    for path in (wheel, sdist, pack, plugin):
        print(path)


if __name__ == "__main__":
    main()
