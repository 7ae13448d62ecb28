'use strict'
// Mouse and keys.

const NOTCH = 80 // pixels of the wheel per slice
const LINE = 33 // pixels of a line, in which some browsers count

function under(event) { // the plane below the pointer and the voxel there
  if (!lesion) return null
  const box = marks.getBoundingClientRect()
  const [x, y] = [(event.clientX - box.left) * marks.width / box.width, (event.clientY - box.top) * marks.height / box.height]
  const index = nv.screenSlices.findIndex(({ leftTopWidthHeight: [left, top, width, height] }) =>
    x >= left && x < left + width && y >= top && y < top + height)
  if (index < 0) return null
  const frac = nv.screenXY2TextureFrac(x, y, index, false)
  const plane = nv.screenSlices[index].axCorSag
  const voxel = state.at.map((at, axis) => axis === PLANES[plane].depth ? at : Math.floor(frac[axis] * lesion.scan.counts[axis]))
  return { plane, voxel, frame: frameOf(nv.screenSlices[index], index) }
}

function pointAt(event) {
  const found = under(event)
  if (!found) return
  state.plane = found.plane
  move(found.voxel)
}

function dragWindow(event) {
  const [low, high] = state.window
  const gain = (high - low) / 300
  changeWindow(-event.movementY * gain, event.movementX * gain)
}

function dragPan(event, { plane, frame }) {
  const { across, up } = PLANES[plane]
  const mm = axis => Math.hypot(...lesion.scan.rows.map(row => row[axis]))
  state.pan[across] += event.movementX * frame.ratio / frame.x.scale * mm(across) * state.zoom
  state.pan[up] += event.movementY * frame.ratio / frame.y.scale * mm(up) * state.zoom
  move(state.at)
}

function beginDrag(event) {
  const from = under(event)
  if (!from) return
  views.focus({ preventScroll: true })
  event.preventDefault()
  marks.setPointerCapture(event.pointerId)
  const windows = event.button === 2 || (event.button === 0 && event.shiftKey)
  const drag = windows ? dragWindow : event.button === 1 ? moved => dragPan(moved, from) : pointAt
  if (drag === pointAt) pointAt(event)
  const stop = () => {
    marks.removeEventListener('pointermove', drag)
    for (const name of ['pointerup', 'pointercancel']) marks.removeEventListener(name, stop)
  }
  marks.addEventListener('pointermove', drag)
  for (const name of ['pointerup', 'pointercancel']) marks.addEventListener(name, stop)
}

let rolled = 0 // pixels of the wheel that have not moved a slice yet
function turnWheel(event) {
  const found = under(event)
  if (!found) return
  event.preventDefault()
  const pixels = -event.deltaY * [1, LINE, 8 * LINE][event.deltaMode]
  if (event.ctrlKey) return zoom(Math.exp(pixels / 600))
  rolled = Math.sign(rolled) === Math.sign(pixels) ? rolled + pixels : pixels
  const slices = Math.trunc(rolled / NOTCH)
  if (!slices) return
  rolled -= slices * NOTCH
  state.plane = found.plane
  scroll(found.plane, slices)
}

const KEYS = {
  a: () => showOnly('all'),
  0: () => showOnly('none'),
  p: () => { state.plane = flat() ? 0 : (state.plane + 1) % 3; move(state.at) },
  w: nextWindow,
  '[': () => changeWindow(-step(), 0),
  ']': () => changeWindow(step(), 0),
  '{': () => changeWindow(0, -2 * step()),
  '}': () => changeWindow(0, 2 * step()),
  f: () => setStyle(state.style === 'fill' ? 'outline' : 'fill'),
  m: () => showMap(MAPS[(MAPS.indexOf(state.map) + 1) % MAPS.length]),
  ',': () => setOpacity(state.opacity - 0.1),
  '.': () => setOpacity(state.opacity + 0.1),
  '+': () => zoom(1.25),
  '=': () => zoom(1.25),
  '-': () => zoom(0.8),
  x: () => { state.cross = !state.cross; paint() },
  r: reset
}
const ARROWS = { arrowup: 1, arrowright: 1, arrowdown: -1, arrowleft: -1 }
const LEAPS = { pageup: 5, pagedown: -5, home: -1000, end: 1000 } // in the views only: elsewhere they move the page

function pressKey(event) {
  const key = event.key.toLowerCase()
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (key === 'n') run(choose((state.lesion + 1) % articles.length))
  else if (!lesion) return
  else if (key in ARROWS && !(event.target instanceof HTMLInputElement)) scroll(state.plane, ARROWS[key])
  else if (key in LEAPS && event.target === views) scroll(state.plane, LEAPS[key])
  else if (/^[1-9]$/.test(key)) toggle(Number(key) - 1)
  else if (key in KEYS) KEYS[key]()
  else return
  event.preventDefault()
}

function listen() {
  marks.addEventListener('pointerdown', beginDrag)
  marks.addEventListener('wheel', turnWheel, { passive: false })
  marks.addEventListener('contextmenu', event => event.preventDefault())
  document.addEventListener('keydown', pressKey)
  document.addEventListener('click', ({ target }) => {
    const { dataset: chosen, id } = target.closest('button') || { dataset: {} }
    if (chosen.choose) run(choose(Number(chosen.choose)))
    if (!lesion) return
    if (id === 'reset') reset()
    if (chosen.hypothesis) toggle(Number(chosen.hypothesis))
    if (chosen.show) showOnly(chosen.show)
    if (chosen.style) setStyle(chosen.style)
    if (chosen.map) showMap(chosen.map)
  })
  byId('opacity').addEventListener('input', event => { if (lesion) setOpacity(event.target.value / 100) })
  PLANES.forEach((plane, number) => byId(`slice-${plane.name.toLowerCase()}`).addEventListener('input', event => {
    if (!lesion) return
    state.plane = number
    scroll(number, event.target.value - 1 - state.at[plane.depth])
  }))
  new ResizeObserver(() => later('arrange', arrange)).observe(views)
}
