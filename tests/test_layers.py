"""The arrows of CONTRIBUTING.md: imports go one way, and running a network needs no training code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinysr_core

CORE = Path(tinysr_core.__file__).parent
ROOT = Path(__file__).parents[1]

LAYERS = [
    {"errors", "arrays", "threads"},
    {"files", "config", "skip", "duplicates", "backbones"},
    {"checkpoint", "tiling", "bands", "target", "model", "lpips"},
    {"catalog", "resize", "images", "metrics", "loss", "degrade", "engines"},
    {"postprocess", "detail", "delivery", "photos", "preview", "run_folder"},
    {"upscaler", "data", "data_check", "evaluate"},
    {"pipeline", "validation"},
    {"recipe", "run_state", "report"},
    {"optimizer", "monitor"},
    {"trainer"},
    {"export", "jobs", "memory", "gimp_install", "compare"},
    {"batch", "methods", "worst"},
    {"crew"},
    {"processes", "cluster"},
    {"worker_requests", "terminal"},
    {"worker"},
    {"cli"},
]
"""A module may import those of earlier sets, and its own package."""
TRAINING = {
    *(
        "backbones",
        "data",
        "data_check",
        "degrade",
        "duplicates",
        "evaluate",
        "loss",
        "lpips",
        "methods",
        "metrics",
        "monitor",
        "optimizer",
        "photos",
    ),
    *("preview", "recipe", "report", "run_folder", "run_state", "trainer", "validation", "worst"),
}


def module_of(path: Path) -> str:
    return path.relative_to(CORE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The modules of the core that a file of it imports, wherever in the file."""
    depth = len(path.relative_to(CORE).parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            level = getattr(node, "level", 0)
            assert level or not any(name.split(".")[0] == "tinysr_core" for name in names), f"{path}: absolute import"
    return found - {"__version__"}


FILES = [path for path in sorted(CORE.rglob("*.py")) if path != CORE / "__init__.py" and "plugin" not in str(path)]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_imports_go_one_way(path: Path) -> None:
    own = module_of(path)
    assert own in RANK, f"{own} has no place in the layers"
    for name in imported(path) - {own}:
        assert RANK[name] < RANK[own], f"{own} must not import {name}"


def test_running_a_network_needs_no_training_code() -> None:
    for path in FILES:
        if module_of(path) not in TRAINING | {"cli"}:
            assert not imported(path) & TRAINING, path


def test_hosts_and_training_reach_the_core_only() -> None:
    for folder, allowed in (("nodes", {"nodes"}), ("training", set[str]()), ("tinysr_core", set[str]())):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            roots = {
                node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
            }
            assert not roots & ({"nodes", "training", "gimp_plugin", "gi", "tests"} - allowed), path
            if folder != "nodes":
                assert not roots & {"comfy", "folder_paths", "nodes"}, path


@pytest.mark.parametrize(
    "module", ["tinysr_core", "tinysr_core.cli", "tinysr_core.gimp.server", "tinysr_core.model.catalog"]
)
def test_torch_is_not_imported_before_a_network_runs(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names() -> None:
    assert tinysr_core.__all__ == [
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
        "write_picture",
    ]
    for name in tinysr_core.__all__:
        assert getattr(tinysr_core, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tinysr_core.nothing
