"""Workflows that users have saved stay valid; those that come with the pack fit its nodes."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAVED = sorted((Path(__file__).parent / "workflows").glob("*.json"))
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
WIDGETS = {
    "TinySRLoader": ["checkpoint", "detail", "clean"],
    "TinySRUpscale": [
        *("size", "factor", "width", "height", "megapixels", "tile", "device", "precision", "mask_is", "divisible_by"),
    ],
    "TinySRSharpenAA": ["sharpen", "radius", "percent", "threshold", "anti_alias", "blur", "amount", "device"],
    "TinySRUpscaleVideo": [
        *("size", "factor", "width", "height", "megapixels", "codec", "filename_prefix", "quality", "divisible_by"),
        *("tile", "device", "precision"),
    ],
}
"""The front end saves the values of widgets by position, so these stay where they are; new ones come behind them."""
REQUIRED = {"TinySRLoader": 1, "TinySRUpscale": 8, "TinySRSharpenAA": 8, "TinySRUpscaleVideo": 7}
"""So many of them have been there from the beginning. Workflows from then lack the others, which are optional."""
SOCKETS = ("UPSCALE_MODEL", "IMAGE", "MASK", "VIDEO")


def inputs_of(node):
    declared = node.INPUT_TYPES()
    return {**declared["required"], **declared.get("optional", {})}


def test_widgets_stay_where_they_are(nodes):
    assert set(nodes) == set(WIDGETS)
    for name, node in nodes.items():
        widgets = [widget for widget, (kind, _) in inputs_of(node).items() if kind not in SOCKETS]
        assert widgets[: len(WIDGETS[name])] == WIDGETS[name]
        required = [widget for widget, (kind, _) in node.INPUT_TYPES()["required"].items() if kind not in SOCKETS]
        assert required == WIDGETS[name][: REQUIRED[name]]


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_saved_workflow_is_accepted(nodes, path):
    check = importlib.import_module(nodes["TinySRUpscale"].__module__.replace(".upscale", ".values")).check
    for node in json.loads(path.read_text()).values():
        if node["class_type"] not in nodes:
            continue
        kind = nodes[node["class_type"]]
        assert set(kind.INPUT_TYPES()["required"]) <= set(node["inputs"]) <= set(inputs_of(kind))
        for name, (wanted, options) in inputs_of(kind).items():
            value = node["inputs"].get(name, options.get("default"))
            if wanted not in SOCKETS and value is not None:
                check(name, wanted, options, value)


@pytest.mark.parametrize("path", EXAMPLES + BLUEPRINTS, ids=lambda path: path.stem)
def test_what_comes_with_the_pack_fits_its_nodes(nodes, path):
    """Slots, and the values of widgets by position, also those that were saved with fewer widgets."""
    workflow = json.loads(path.read_text())
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]
    ours = [node for graph in graphs for node in graph["nodes"] if node["type"] in nodes]
    assert ours
    for node in ours:
        values = dict(zip(WIDGETS[node["type"]], node["widgets_values"], strict=False))
        assert len(values) == len(node["widgets_values"])
        inputs = inputs_of(nodes[node["type"]])
        assert {slot["name"] for slot in node["inputs"]} <= set(inputs)
        for name, value in values.items():
            if isinstance(inputs[name][0], list):
                assert value in inputs[name][0]
        assert [slot["name"] for slot in node["outputs"]] == list(nodes[node["type"]].RETURN_NAMES)


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one_subgraph_with_its_own_name(path):
    blueprint = json.loads(path.read_text())
    (node,), (subgraph,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert node["type"] == subgraph["id"]
    assert node["title"] == subgraph["name"] == path.stem
    widgets = {str(inner["id"]): WIDGETS[inner["type"]] for inner in subgraph["nodes"]}
    for inner, widget in node["properties"]["proxyWidgets"]:
        assert widget in widgets[inner]
    linked = {link["id"] for link in subgraph["links"]}
    ends = [slot for inner in subgraph["nodes"] for slot in inner["inputs"] if slot["link"] is not None]
    assert {slot["link"] for slot in ends} | {i for out in subgraph["outputs"] for i in out["linkIds"]} == linked
