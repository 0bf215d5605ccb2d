"""Tests of README and docs: every command, every line of Python, every link.

A block of commands runs in a sandbox with the pictures that the pages use. A block that cannot run there says so in the
Markdown, in a comment on the line before the block: `<!-- not run: WHY -->`. A block that needs an optional package
says `<!-- needs: MODULE -->`.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(p for p in sorted(ROOT.glob("*/**/*.md")) if not {".venv", "venv", "build"} & set(p.parts)),
]
HELP = ROOT / "web" / "docs"
BLOCK = re.compile(r"(?P<comments>(?:^<!-- [^\n]* -->\n)*)^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    kind: str
    text: str
    comments: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if found["kind"] != "text":
            line = 1 + text.count("\n", 0, found.start("text"))
            yield Block(page, line, found["kind"], found["text"], found["comments"])


def test_no_block_is_overlooked() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*```", text, re.M)) == 2 * len(BLOCK.findall(text)), (
            f"{page.name}: an indented block"
        )


def parameter(block: Block) -> Any:
    # The other pages take longer and need -m slow.
    return pytest.param(block, id=str(block), marks=[] if block.page.name == "README.md" else pytest.mark.slow)


@dataclass
class Sandbox:
    """A copy of the parts of a clone that the pages use, with more pictures."""

    folder: Path
    names: dict[str, Any]
    """Python's variables."""


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Sandbox]:
    """One for each page, whose blocks may build upon each other."""
    return {page: make_sandbox(tmp_path_factory.mktemp(page.stem)) for page in PAGES}


def make_sandbox(folder: Path) -> Sandbox:
    place = folder / "clone"
    place.mkdir()
    for name in ("examples", "weights", "training/recipes", "benchmarks"):
        shutil.copytree(ROOT / name, place / name)
    small = Image.open(ROOT / "examples" / "portrait.png").convert("RGB").resize((70, 80))
    for photo in ("photo.jpg", "holiday/one.jpg", "holiday/day 2/two.jpg"):
        (place / photo).parent.mkdir(parents=True, exist_ok=True)
        small.save(place / photo)
    models = folder / "home" / ".tinysr" / "models"
    models.mkdir(parents=True)
    shutil.copy(ROOT / "weights" / "tinysr-portrait-x2.safetensors", models / "my-portraits-x2.safetensors")
    return Sandbox(place, {})


def run_commands(text: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "GIMP"))}
    environment |= {"HOME": str(folder.parent / "home"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", text]
    answer = subprocess.run(command, cwd=folder, env=environment, timeout=300, capture_output=True, text=True)
    assert answer.returncode == 0, f"{text}\n{answer.stdout}\n{answer.stderr}"


def run_python(block: Block, names: dict[str, Any]) -> None:
    if ">>>" not in block.text:
        exec(compile(block.text, str(block), "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block.text, names, str(block), str(block.page), block.line - 1)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, clear_globs=False).failed == 0
    names |= test.globs


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("block", [parameter(block) for page in PAGES for block in blocks(page)])
def test_blocks(block: Block, sandboxes: dict[Path, Sandbox], monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := re.search(r"<!-- (not run: .*) -->", block.comments):
        pytest.skip(reason[1])
    if needed := re.search(r"<!-- needs: (\w+) -->", block.comments):
        pytest.importorskip(needed[1])
    sandbox = sandboxes[block.page]
    if block.kind == "toml":
        tomllib = pytest.importorskip("tomllib")
        assert tomllib.loads(block.text)
    elif block.kind == "python":
        monkeypatch.chdir(sandbox.folder)
        run_python(block, sandbox.names)
    else:
        assert block.kind == "sh", f"{block}: commands are marked as sh, Python as python, the rest as text"
        run_commands(block.text, sandbox.folder)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*)$", text, re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        base = HELP if page.is_relative_to(HELP) else page.parent  # as ComfyUI's front end resolves links
        target = (base / name) if name else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}; {target.name} has no such heading"


def test_the_map_names_every_room_and_every_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    core = ROOT / "tinysr_core"
    tree = text.split("tinysr_core/  ")[1].split("```")[0]
    top = {path.name + "/" * path.is_dir() for path in core.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(re.findall(r"^  ([\w.]+/?) ", tree, re.MULTILINE)) == top - {"__init__.py", "__pycache__/"}
    tables = dict(re.findall(r"^\| `(\w+)/` \| \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE))
    for room in (path for path in core.iterdir() if (path / "__init__.py").exists()):
        files = {path.name for path in room.glob("*.py")} - {"__init__.py", "__main__.py"}
        assert set(re.findall(r"`(\w+\.py)`", tables[room.name])) == files, room.name


def test_the_tables_of_readme_and_docs_are_those_of_the_results() -> None:
    code = "import readme_tables as t; assert all(t.filled(text := p.read_text('utf-8')) == text for p in t.PAGES)"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False)
    if "does not hold all" in answer.stderr:
        pytest.skip(answer.stderr.strip())
    assert answer.returncode == 0, f"run python benchmarks/readme_tables.py\n{answer.stderr}"
