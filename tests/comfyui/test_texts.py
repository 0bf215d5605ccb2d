"""What users read in ComfyUI is complete, in every language."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir())


def inputs_of(node):
    declared = node.INPUT_TYPES()
    return {**declared["required"], **declared.get("optional", {})}


def test_english_is_what_the_nodes_say(nodes, pack):
    english = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    expected = {
        node_id: {
            "display_name": pack.NODE_DISPLAY_NAME_MAPPINGS[node_id],
            "description": node.DESCRIPTION,
            "inputs": {
                name: {"name": name, "tooltip": options["tooltip"]} for name, (_, options) in inputs_of(node).items()
            },
            "outputs": {
                str(i): {"name": name, "tooltip": tooltip}
                for i, (name, tooltip) in enumerate(zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True))
            },
        }
        for node_id, node in nodes.items()
    }
    assert english == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_complete(nodes, language):
    text = (ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8")
    translation = json.loads(text)
    assert set(translation) == set(nodes)
    for node_id, node in nodes.items():
        entry = translation[node_id]
        assert entry["display_name"] and entry["description"]
        assert list(entry["inputs"]) == list(inputs_of(node))
        assert len(entry["outputs"]) == len(node.RETURN_TYPES)
        for name, (kind, _) in inputs_of(node).items():
            assert entry["inputs"][name]["tooltip"]
            if language != "en" and isinstance(kind, list) and name != "checkpoint":
                assert list(entry["inputs"][name]["options"]) == kind
    special = set("@|$") & set(text)  # the front end's message syntax would interpret them
    assert not special


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_pages_name_every_input(nodes, language):
    """The front end asks for the page in its language, then for the one without."""
    docs = ROOT / "web" / "docs"
    names = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    for node_id, node in nodes.items():
        page = docs / f"{node_id}.md" if language == "en" else docs / node_id / f"{language}.md"
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {names[node_id]['display_name']}\n")
        for name in inputs_of(node):
            assert f"**{name}**" in text, f"{page} does not explain {name}"
        for picture in text.split("](images/")[1:]:
            assert (docs / "images" / picture.split(")")[0]).is_file()


def test_messages_advise_no_command():
    """Whoever uses ComfyUI need not have a terminal, nor know which Python it runs with."""
    for file in (ROOT / "nodes").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "pip " not in node.value and "`tinysr" not in node.value, file.name


def test_examples_have_thumbnails():
    examples = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    assert examples == {path.stem for path in (ROOT / "example_workflows").glob("*.jpg")}
    assert examples == {path.stem for path in (Path(__file__).parent / "workflows").glob("*.json")}
