'use strict'
// Which hypotheses and which map are shown, and how.

const MAPS = ['none', 'probability', 'entropy']
const COLOURS = { // stops of matplotlib's magma and viridis
  probability: [[0, 0, 4], [40, 17, 89], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]],
  entropy: [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]]
}
const UNITS = { probability: ['Probability of lesion', value => percent(value)], entropy: ['Entropy', value => `${value.toFixed(2)} nats`] }
const OPAQUE = 0.85 // of a map, from half its largest value

function showHypotheses() {
  buttons().forEach((button, index) => press(button, state.shown.has(index)))
  byId('opacity').value = String(Math.round(100 * state.opacity))
  byId('opacity').nextElementSibling.value = `${byId('opacity').value} %`
  document.querySelectorAll('[data-style]').forEach(button => press(button, button.dataset.style === state.style))
  paint()
}

function toggle(index) {
  if (index >= buttons().length) return
  if (!state.shown.delete(index)) state.shown.add(index)
  showHypotheses()
}

function showOnly(which) {
  state.shown = new Set(which === 'all' ? buttons().keys() : [])
  showHypotheses()
}

function setStyle(style) {
  state.style = style
  showHypotheses()
}

function setOpacity(value) {
  state.opacity = clamp(value, 0, 1)
  showHypotheses()
}

function showMap(name) {
  state.map = name
  document.querySelectorAll('[data-map]').forEach(button => press(button, button.dataset.map === name))
  showLegend()
  paint()
}

function showLegend() {
  const legend = byId('legend')
  legend.hidden = state.map === 'none'
  if (legend.hidden) return
  const [title, unit] = UNITS[state.map]
  const [name, strip, ends] = legend.children
  name.textContent = title
  ends.lastElementChild.textContent = unit(lesion.most[state.map])
  const colours = new ImageData(tableOf(state.map), 256)
  strip.getContext('2d').putImageData(colours, 0, 0)
}

function placeLegend(tile) { // below the axial plane's name
  if (!tile) return
  const ratio = scan.width / views.clientWidth
  byId('legend').style.left = `${tile.leftTopWidthHeight[0] / ratio + 8}px`
  byId('legend').style.top = `${tile.leftTopWidthHeight[1] / ratio + 28}px`
}

const tables = new Map()
function tableOf(name) { // 256 colours of a map, clear at 0, so that the scan shows through where values are small
  if (!tables.has(name)) {
    const stops = COLOURS[name]
    const between = (share, channel) => {
      const at = Math.min(Math.floor(share * (stops.length - 1)), stops.length - 2)
      const part = share * (stops.length - 1) - at
      return (1 - part) * stops[at][channel] + part * stops[at + 1][channel]
    }
    const rows = Array.from({ length: 256 }, (_, index) => {
      const share = index / 255
      return [0, 1, 2].map(channel => between(share, channel)).concat(255 * Math.min(2 * share, OPAQUE))
    })
    tables.set(name, Uint8ClampedArray.from(rows.flat()))
  }
  return tables.get(name)
}
