"""The contents of the archives: nothing is missing, and nothing is superfluous."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tinysr_core import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout: what is tracked counts")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The archives that `tools/archives.py` makes, with the version in their names."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, ROOT / "tools" / "archives.py", folder]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kinds = ("whl", "tar.gz", "comfyui", "gimp")
    paths = [Path(line) for line in output.splitlines()]
    assert all(kind in path.name and __version__ in path.name for kind, path in zip(kinds, paths, strict=True))
    return dict(zip(kinds, paths, strict=True))


def tracked(*folders: str) -> list[Path]:
    command = ["git", "-C", ROOT, "ls-files", *folders]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [Path(name) for name in names if (ROOT / name).exists()]


def in_wheel() -> set[str]:
    """The path in the wheel of every tracked file that belongs into it."""
    places = {"tinysr_core": "tinysr_core", "training": "tinysr_training"}
    places |= {"gimp_plugin": "tinysr_core/gimp_plugin", "weights": "tinysr_core/weights"}
    return {f"{places[path.parts[0]]}/{path.relative_to(path.parts[0]).as_posix()}" for path in tracked(*places)}


def test_the_wheel(built: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(built["whl"]).namelist())
    info = {name for name in names if name.startswith(f"tinysr-{__version__}.dist-info/")}
    assert names - info == in_wheel()
    assert {name.split("/")[0] for name in names} == {
        "tinysr_core",
        "tinysr_training",
        f"tinysr-{__version__}.dist-info",
    }
    assert {name.split("/", 1)[1] for name in info} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    }


def test_the_sdist_has_what_the_wheel_is_made_of(built: dict[str, Path]) -> None:
    with tarfile.open(built["tar.gz"]) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    files = {path.as_posix() for path in tracked("tinysr_core", "training", "gimp_plugin", "weights")}
    extra = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "constraints.txt", "pyproject.toml"}
    made = {name for name in names if name.startswith("tinysr.egg-info/")} | {"setup.cfg"}
    assert names - made == files | extra


def test_the_node_pack_has_everything_but_what_nodes_do_not_use(built: dict[str, Path]) -> None:
    names = zipfile.ZipFile(built["comfyui"]).namelist()
    assert {name.split("/")[0] for name in names} == {"tinysr"}
    folders = ("nodes", "tinysr_core", "weights", "web", "locales", "example_workflows", "subgraphs", "examples")
    files = {path.as_posix() for path in tracked(*folders)}
    top = {"__init__.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE", "CHANGELOG.md"}
    top |= {"SECURITY.md", ".comfyignore"}
    assert {name.removeprefix("tinysr/") for name in names} == files | top


def test_the_plugin_can_be_executed(built: dict[str, Path]) -> None:
    archive = zipfile.ZipFile(built["gimp"])
    assert set(archive.namelist()) == {path.relative_to("gimp_plugin").as_posix() for path in tracked("gimp_plugin")}
    assert archive.getinfo("tinysr-gimp/tinysr-gimp.py").external_attr >> 16 & 0o111


@pytest.mark.slow
def test_the_wheel_runs_the_main_job_in_a_fresh_venv(built: dict[str, Path], tmp_path: Path) -> None:
    """Its dependencies come from this environment, through a .pth file that leaves out the editable install."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)}))
    site.joinpath("dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    bin_folder = site.parents[2] / "bin" if sys.platform != "win32" else venv / "Scripts"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object) -> str:
        program, *rest = map(str, command)
        return subprocess.run(
            [bin_folder / program, *rest], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("python", "-m", "pip", "install", "--no-deps", "--no-index", built["whl"])
    assert str(site) in run("python", "-c", "import tinysr_core; print(tinysr_core.__file__)")
    run("tinysr", "upscale", ROOT / "examples" / "portrait.png", "-o", tmp_path / "large.png")
    assert '"width": 700' in run("tinysr", "info", tmp_path / "large.png", "--json")
    assert "portrait" in run("tinysr", "models")
    assert "recipe" in run("tinysr-finetune", "--help")
    (tmp_path / "gimp").mkdir()
    run("tinysr", "gimp", "install", "--folder", tmp_path / "gimp")
    assert (tmp_path / "gimp" / "plug-ins" / "tinysr-gimp" / "tinysr-gimp.py").is_file()
    assert run(
        "python", "-c", "import importlib.util as u; print(*map(u.find_spec, ('nodes', 'tests', 'training')))"
    ) == ("None None None\n")
