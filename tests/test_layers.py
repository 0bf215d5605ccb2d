"""The rooms of `tinysr_core`: imports go one way, and only through `__init__.py`; inference needs no training code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinysr_core

CORE = Path(tinysr_core.__file__).parent
ROOT = Path(__file__).parents[1]

ROOMS = (
    "cli",
    "gimp",
    "folders",
    "trainer",
    "evaluation",
    "video",
    "pipeline",
    "engines",
    "postprocess",
    "images",
    "loss",
    "model",
    "util",
    "errors",
)
"""From top to bottom: a room imports only from rooms further down."""

TRAINING = {"loss", "evaluation", "trainer"}
"""Rooms that inference does not import. Of the command line, only `tinysr evaluate` imports them."""

FILES = [
    path
    for path in sorted(CORE.rglob("*.py"))
    if path.parent.name != "gimp_plugin" and path.relative_to(CORE).parts != ("__init__.py",)
]


def room_of(path: Path) -> str:
    return path.relative_to(CORE).with_suffix("").parts[0]


def imports(path: Path) -> list[tuple[str, ...]]:
    """The imports of a file from other rooms, anywhere in the file, as parts of the name below `tinysr_core`."""
    depth = len(path.relative_to(CORE).parts)
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found += [tuple(node.module.split("."))] if node.module else [(alias.name,) for alias in node.names]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            level = getattr(node, "level", 0)
            assert level or not any(name.split(".")[0] == "tinysr_core" for name in names), f"{path}: absolute import"
    return [parts for parts in found if parts != ("__version__",)]


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_imports_go_down_and_through_the_face(path: Path) -> None:
    own = room_of(path)
    for room, *inside in imports(path):
        assert ROOMS.index(room) > ROOMS.index(own), f"{own} must not import {room}"
        assert not inside, f"import {'.'.join(inside)} from the face of {room}"


def test_running_a_network_needs_no_training_code() -> None:
    for path in FILES:
        if room_of(path) not in TRAINING | {"cli"}:
            assert not {room for room, *_ in imports(path)} & TRAINING, path


def test_faces_export_what_is_there() -> None:
    for room in ROOMS:
        face = __import__(f"tinysr_core.{room}", fromlist=["*"])
        for name in getattr(face, "__all__", ()):
            assert getattr(face, name) is not None
        if hasattr(face, "__getattr__"):
            with pytest.raises(AttributeError, match="no attribute 'nothing'"):
                _ = face.nothing


def test_hosts_and_training_reach_the_core_only() -> None:
    for folder, allowed in (("nodes", {"nodes"}), ("training", set[str]()), ("tinysr_core", set[str]())):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
            roots = {module.split(".")[0] for module in modules}
            assert not roots & ({"nodes", "training", "gimp_plugin", "gi", "tests"} - allowed), path
            if folder != "nodes":
                assert not roots & {"comfy", "folder_paths", "nodes"}, path
            for module in modules:
                if module.startswith("tinysr_core."):
                    assert module.count(".") == 1, f"{path}: import from the face, not {module}"


@pytest.mark.parametrize(
    "module",
    ["tinysr_core", "tinysr_core.cli.main", "tinysr_core.gimp.worker", "tinysr_core.model", "tinysr_core.images"],
)
def test_torch_is_not_imported_before_a_network_runs(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names() -> None:
    assert tinysr_core.__all__ == [
        "Finish",
        "Picture",
        "TinySRError",
        "Upscaler",
        "anti_alias",
        "enhance",
        "enhance_picture",
        "find_checkpoint",
        "from_pil",
        "list_checkpoints",
        "load_upscaler",
        "read_picture",
        "sharpen",
        "to_pil",
        "upscale",
        "write_picture",
    ]
    for name in tinysr_core.__all__:
        assert getattr(tinysr_core, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tinysr_core.nothing
