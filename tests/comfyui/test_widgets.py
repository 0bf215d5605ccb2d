"""web/tinysr.js in Node.js, with nodes like those of the front end."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRONT_END = """
export const app = { registerExtension(extension) { globalThis.extension = extension } }
"""
DRIVER = """
import "./extensions/tinysr/tinysr.js"
const { declared, example, settings } = JSON.parse(process.argv[2])

function made(comfyClass) {
  const widgets = declared[comfyClass].map(([name, value]) => ({ name, value, options: {} }))
  const inputs = widgets.map(({ name }) => ({ widget: { name }, link: null }))
  const size = [200, 0], computeSize = () => [200, widgets.filter(({ hidden }) => !hidden).length]
  return { comfyClass, widgets, inputs, size, computeSize, setSize(size) { this.size = size } }
}
const soon = () => new Promise((resolve) => setTimeout(resolve))
const isShown = ({ hidden, options }) => !hidden && !options.hidden
const shown = ({ widgets }) => widgets.filter(isShown).map(({ name }) => name)

const answers = []
for (const [comfyClass, values, linked] of settings) {
  const node = made(comfyClass)
  globalThis.extension.nodeCreated(node)
  await soon()
  for (const [name, value] of Object.entries(values)) {
    const widget = node.widgets.find((widget) => widget.name === name)
    widget.value = value
    widget.callback?.(value)
  }
  if (linked) {
    node.inputs.find(({ widget }) => widget.name === linked).link = 1
    node.onConnectionsChange()
    await soon()
  }
  answers.push(shown(node))
}
const graphs = [true, false].map((vueNodesMode) => {
  globalThis.LiteGraph = { vueNodesMode, registered_node_types: { ImageCompare: {} } }
  const graph = structuredClone(example)
  globalThis.extension.beforeConfigureGraph(graph)
  return graph
})
console.log(JSON.stringify({ answers, graphs }))
"""


@pytest.fixture
def in_front_end(nodes, tmp_path):
    """`in_front_end(settings, example)`: the names of the shown widgets for each (id, changed values, linked widget),
    and the example's graph in Nodes 2.0 and in the older renderer."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js on the PATH")
    for name, text in {
        "scripts/app.js": FRONT_END,
        "extensions/tinysr/tinysr.js": (ROOT / "web" / "tinysr.js").read_text(encoding="utf-8"),
        "driver.js": DRIVER,
        "package.json": '{"type": "module"}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    declared = {}
    for node_id, node in nodes.items():
        inputs = node.INPUT_TYPES()
        groups = {**inputs["required"], **inputs.get("optional", {})}
        declared[node_id] = [
            (name, options.get("default", kind[0] if isinstance(kind, list) else None))
            for name, (kind, options) in groups.items()
            if isinstance(kind, list) or "default" in options
        ]

    def ask(settings=(), example=None):
        question = json.dumps({"declared": declared, "settings": settings, "example": example or {"nodes": []}})
        command = ["node", "driver.js", question]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["answers"], answer["graphs"]

    return ask


def test_only_the_widgets_of_the_size_mode_are_shown(in_front_end):
    sizes = {"factor", "width", "height", "megapixels"}
    expected = {
        "network scale": set(),
        "factor": {"factor"},
        "fit": {"width", "height"},
        "fill": {"width", "height"},
        "stretch": {"width", "height"},
        "megapixels": {"megapixels"},
    }
    settings = [(node, {"size": mode}, None) for node in ("TinySRUpscale", "TinySRUpscaleVideo") for mode in expected]
    answers, _ = in_front_end(settings)
    for (node, changed, _), shown in zip(settings, answers, strict=True):
        assert sizes & set(shown) == expected[changed["size"]], f"{node} {changed}"
        assert {"size", "tile", "device", "precision", "divisible_by"} <= set(shown)


def test_quality_is_shown_for_codecs_that_have_it(in_front_end):
    codecs = {"h264": True, "h265": True, "prores": False, "ffv1": False}
    answers, _ = in_front_end([("TinySRUpscaleVideo", {"codec": codec}, None) for codec in codecs])
    assert ["quality" in shown for shown in answers] == list(codecs.values())


def test_linked_widgets_are_shown(in_front_end):
    """A link to a hidden widget stays visible. If the mode itself is linked, any widget may be used."""
    (factor, every), _ = in_front_end([("TinySRUpscale", {}, "factor"), ("TinySRUpscale", {}, "size")])
    assert "factor" in factor and "width" not in factor
    assert {"factor", "width", "height", "megapixels"} <= set(every)


def test_examples_have_previews_where_compare_images_is_missing(in_front_end):
    example = json.loads((ROOT / "example_workflows" / "Portrait x2.json").read_text(encoding="utf-8"))
    _, (new, old) = in_front_end(example=example)
    assert new == example
    assert "ImageCompare" not in {node["type"] for node in old["nodes"]}
    (compare,) = (node for node in example["nodes"] if node["type"] == "ImageCompare")
    titles = [node["title"] for node in old["nodes"] if node["type"] == "PreviewImage"]
    assert titles == compare["properties"]["tinysr_previews"]
    by_id = {node["id"]: node for node in old["nodes"]}
    for number, _, _, target, slot, _ in old["links"]:
        assert by_id[target]["inputs"][slot]["link"] == number
