// Shows only the widgets that the chosen size mode and codec use. Hidden widgets keep their values in the workflow.
// Without Compare Images, which needs Nodes 2.0, TinySR's examples show two previews instead.
import { app } from "../../scripts/app.js"

const ALWAYS = () => true
const USED_IF = {
  factor: ({ size }) => size === "factor",
  width: ({ size }) => ["fit", "fill", "stretch"].includes(size),
  height: ({ size }) => ["fit", "fill", "stretch"].includes(size),
  megapixels: ({ size }) => size === "megapixels",
  quality: ({ codec }) => ["h264", "h265"].includes(codec),
}
const NODES = ["TinySRUpscale", "TinySRUpscaleVideo"]

function isLinked(node, name) {
  return node.inputs?.some((slot) => slot.widget?.name === name && slot.link != null)
}

const NO_HEIGHT = () => [0, -4] // cancels the gap between widgets

function setShown(widget, shown) {
  widget.hidden = !shown
  if (widget.options) widget.options.hidden = !shown // Nodes 2.0
  if (!shown && widget.computeSize !== NO_HEIGHT) {
    widget.tinysrComputeSize = widget.computeSize
    widget.computeSize = NO_HEIGHT // front ends of 2025 reserve space for hidden widgets
  } else if (shown && widget.computeSize === NO_HEIGHT) {
    widget.computeSize = widget.tinysrComputeSize
  }
}

function showWhatMatters(node) {
  const chosen = Object.fromEntries(node.widgets.map((widget) => [widget.name, widget.value]))
  const before = node.computeSize()[1]
  for (const widget of node.widgets) {
    const linkedMode = isLinked(node, "size") // its value is not known before the run
    setShown(widget, linkedMode || isLinked(node, widget.name) || (USED_IF[widget.name] ?? ALWAYS)(chosen))
  }
  const after = node.computeSize()[1]
  if (after !== before) node.setSize([node.size[0], Math.max(after, node.size[1] + after - before)])
  node.graph?.setDirtyCanvas?.(true, true)
}

app.registerExtension({
  name: "TinySR.Widgets",

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return
    for (const widget of node.widgets.filter(({ name }) => name === "size" || name === "codec")) {
      const callback = widget.callback
      widget.callback = function (...values) {
        const result = callback?.apply(this, values)
        showWhatMatters(node)
        return result
      }
    }
    const changed = node.onConnectionsChange
    node.onConnectionsChange = function (...values) {
      const result = changed?.apply(this, values)
      setTimeout(() => showWhatMatters(node))
      return result
    }
    setTimeout(() => showWhatMatters(node)) // a saved workflow sets its values first
  },

  loadedGraphNode(node) {
    if (NODES.includes(node.comfyClass)) showWhatMatters(node)
  },

  // Runs before the graph is built. Only TinySR's examples set the property.
  beforeConfigureGraph(graph) {
    const { registered_node_types: types, vueNodesMode } = globalThis.LiteGraph
    for (const node of [...(graph.nodes ?? [])]) {
      const titles = node.properties?.tinysr_previews
      if (!titles || (vueNodesMode && node.type in types)) continue
      const previews = titles.map((title, i) => ({
        ...node,
        id: i ? ++graph.last_node_id : node.id,
        type: "PreviewImage",
        title,
        pos: [node.pos[0] + i * (node.size[0] + 80), node.pos[1]],
        inputs: [{ name: "images", type: "IMAGE", link: node.inputs[i].link }],
        properties: { "Node name for S&R": "PreviewImage" },
      }))
      for (const preview of previews)
        for (const link of graph.links) if (link[0] === preview.inputs[0].link) link.splice(3, 2, preview.id, 0)
      graph.nodes.splice(graph.nodes.indexOf(node), 1, ...previews)
    }
  },
})
