'use strict'
// What all parts of the viewer share: the page's elements, the user's choices, and small texts. All voxels are in RAS order.

const PLANES = [
  { name: 'Axial', across: 0, up: 1, depth: 2 },
  { name: 'Coronal', across: 0, up: 2, depth: 1 },
  { name: 'Sagittal', across: 1, up: 2, depth: 0 }
]

const page = JSON.parse(byId('page').textContent)
const articles = [...document.querySelectorAll('.lesion')]
const scan = byId('scan')
const marks = byId('marks')
const views = byId('views')
const state = {
  lesion: -1, shown: new Set(), style: 'outline', map: 'none', opacity: 1, window: [0, 1],
  at: [0, 0, 0], plane: 0, cross: true, zoom: 1, pan: [0, 0, 0]
}
let nv = null // NiiVue
let lesion = null // what `load` returns for the lesion that is shown; null while another one loads

function byId(id) { return document.getElementById(id) }
function clamp(value, low, high) { return Math.min(Math.max(value, low), high) }
function minus(text) { return text.replace('-', '−') }
function press(button, on) { button.setAttribute('aria-pressed', String(on)) }

function percent(value) {
  return `${(100 * value).toFixed(value >= 0.0005 && value < 0.0095 ? 1 : 0)} %`
}

const waiting = new Map()
function later(name, work) { // once per frame, however often it is requested
  if (!waiting.has(name)) requestAnimationFrame(() => { const last = waiting.get(name); waiting.delete(name); last() })
  waiting.set(name, work)
}
