// Shows only the widgets that the chosen size mode and codec read, and gives old front ends a substitute for the core's
// Compare Images in TinySR's examples. Values of hidden widgets stay in the workflow.
import { app } from "../../scripts/app.js"

const ALWAYS = () => true
const READ_BY = {
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

function showWhatMatters(node) {
  const chosen = Object.fromEntries(node.widgets.map((widget) => [widget.name, widget.value]))
  const before = node.computeSize()[1]
  for (const widget of node.widgets) {
    const linkedMode = isLinked(node, "size") // what comes through the link is not known here
    const shown = linkedMode || isLinked(node, widget.name) || (READ_BY[widget.name] ?? ALWAYS)(chosen)
    widget.hidden = !shown
    if (widget.options) widget.options.hidden = !shown // Nodes 2.0
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
      showWhatMatters(node)
      return result
    }
    showWhatMatters(node)
  },

  loadedGraphNode(node) {
    if (NODES.includes(node.comfyClass)) showWhatMatters(node)
  },

  // Runs before the graph is built. Only nodes of TinySR's examples have the property.
  beforeConfigureGraph(graph) {
    const types = globalThis.LiteGraph.registered_node_types
    for (const node of graph.nodes ?? []) {
      const substitute = node.properties?.tinysr_fallback
      if (!substitute || node.type in types) continue
      const [unused, kept] = node.inputs.map((slot) => slot.link)
      graph.links = graph.links.filter(([id]) => id !== unused)
      for (const link of graph.links) if (link[0] === kept) link[4] = 0
      for (const other of graph.nodes)
        for (const output of other.outputs ?? []) output.links = output.links?.filter((id) => id !== unused)
      node.type = substitute
      node.inputs = [{ name: "images", type: "IMAGE", link: kept }]
      node.properties = { "Node name for S&R": substitute }
    }
  },
})
