'use strict'
// Draws the lesion that is chosen. NiiVue draws the scan in three linked planes; masks, maps, letters, scale bars and the cross are
// drawn on a second canvas above it, at the places that NiiVue itself gives. All voxels are in RAS order.

const PLANES = [
  { name: 'Axial', across: 0, up: 1, depth: 2 },
  { name: 'Coronal', across: 0, up: 2, depth: 1 },
  { name: 'Sagittal', across: 1, up: 2, depth: 0 }
]
const ENDS = [['L', 'R'], ['P', 'A'], ['F', 'H']] // of the world's axes, where they begin and end
const MAPS = ['none', 'probability', 'entropy']
const COLOURS = { // stops of matplotlib's magma and viridis
  probability: [[0, 0, 4], [40, 17, 89], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]],
  entropy: [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]]
}
const UNITS = { probability: ['Probability of lesion', value => percent(value)], entropy: ['Entropy', value => `${value.toFixed(2)} nats`] }
const OPAQUE = 0.85 // of a map, from half its largest value
const FILL = 0.4
const ZOOM = [1, 8]
const NOTCH = 80 // pixels of the wheel for a slice
const LINE = 33 // pixels of a line, in which some browsers count

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
let lesion = null // what `load` gives of the lesion that is drawn; null while another one loads

function byId(id) { return document.getElementById(id) }
function clamp(value, low, high) { return Math.min(Math.max(value, low), high) }
function minus(text) { return text.replace('-', '−') }
function press(button, on) { button.setAttribute('aria-pressed', String(on)) }

function percent(value) {
  return `${(100 * value).toFixed(value >= 0.0005 && value < 0.0095 ? 1 : 0)} %`
}

// Voxels

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}

function readNifti(buffer) {
  const header = new DataView(buffer)
  const counts = [1, 2, 3, 4].map(axis => Math.max(header.getInt16(40 + 2 * axis, true), 1))
  const Values = header.getInt16(70, true) === 2 ? Uint8Array : Int16Array
  const rows = [0, 1, 2].map(row => [0, 1, 2, 3].map(column => header.getFloat32(280 + 16 * row + 4 * column, true)))
  return {
    buffer, counts, rows,
    values: new Values(buffer, 352),
    slope: header.getFloat32(112, true),
    intercept: header.getFloat32(116, true)
  }
}

function valueAt(file, [x, y, z]) {
  const [nx, ny] = file.counts
  return file.values[x + nx * (y + ny * z)] * file.slope + file.intercept
}

function labelAt(index, [x, y, z]) {
  const [nx, ny, nz] = lesion.masks.counts
  return lesion.masks.values[x + nx * (y + ny * (z + nz * index))]
}

function millimetres(voxel) {
  return lesion.scan.rows.map(row => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3])
}

// The lesion that is shown

async function choose(number) {
  lesion = null
  state.lesion = number
  articles.forEach((article, index) => { article.hidden = index !== number })
  document.querySelectorAll('[data-choose]').forEach(button => press(button, Number(button.dataset.choose) === number))
  const stored = byId(`voxels-${number}`)
  articles[number].classList.toggle('without-views', !stored)
  views.parentElement.hidden = !stored
  if (!stored) return
  const found = await load(JSON.parse(stored.textContent))
  const picture = await niivue.NVImage.new(found.scan.buffer, 'region.nii')
  if (state.lesion !== number) return // another one was chosen since
  nv.volumes = []
  nv.addVolume(picture)
  if (picture.permRAS.join() !== '1,2,3') throw new Error('the scan is tilted too much.')
  lesion = found
  state.shown = new Set(buttons().keys())
  prepareSlices()
  prepareWindows()
  reset()
  views.dataset.ready = String(number)
}

async function load(stored) {
  const names = ['scan', 'masks', 'probability', 'entropy']
  const files = await Promise.all(names.map(name => unpack(stored[name])))
  const read = Object.fromEntries(names.map((name, index) => [name, readNifti(files[index])]))
  return { ...stored, ...read, loops: new Map() }
}

function buttons() { return [...articles[state.lesion].querySelectorAll('[data-hypothesis]')] }

function reset() {
  Object.assign(state, { plane: 0, zoom: 1, pan: [0, 0, 0], opacity: 1 })
  setWindow(lesion.windows[0].range)
  showMap('none')
  showHypotheses()
  move([...lesion.start])
  zoom(lesion.zoom)
}

// What is shown

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
function tableOf(name) { // 256 colours of a map, clear at 0, so that the scan shows where there is little to say
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

// Window

function prepareWindows() {
  const group = byId('windows')
  group.replaceChildren(group.firstElementChild, ...lesion.windows.map(({ name, range }) => {
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = name
    button.addEventListener('click', () => setWindow(range))
    return button
  }))
}

function setWindow([low, high]) {
  state.window = [low, Math.max(high, low + step() / 10)]
  const buttons = [...byId('windows').querySelectorAll('button')]
  buttons.forEach((button, index) => press(button, lesion.windows[index].range.every((value, end) => value === state.window[end])))
  const digits = page.unit === 'HU' || high - low > 20 ? 0 : 2
  const [level, width] = [(low + high) / 2, high - low].map(value => minus(value.toFixed(digits)))
  byId('window').textContent = `level ${level}, width ${width}${page.unit === 'HU' ? ' HU' : ''}`
  later('window', () => {
    Object.assign(nv.volumes[0], { cal_min: state.window[0], cal_max: state.window[1] })
    nv.updateGLVolume()
  })
}

function step() { // of the keys: a fortieth of the first window
  const [low, high] = lesion.windows[0].range
  return (high - low) / 40
}

function changeWindow(level, width) {
  const [low, high] = state.window
  const half = Math.max((high - low + width) / 2, step() / 4)
  setWindow([(low + high) / 2 + level - half, (low + high) / 2 + level + half])
}

function nextWindow() {
  const all = [...byId('windows').querySelectorAll('button')]
  const now = all.findIndex(button => button.getAttribute('aria-pressed') === 'true')
  all[(now + 1) % all.length].click()
}

const waiting = new Map()
function later(name, work) { // once a frame, however often it is asked for
  if (!waiting.has(name)) requestAnimationFrame(() => { const last = waiting.get(name); waiting.delete(name); last() })
  waiting.set(name, work)
}

// Place

function move(voxel) {
  state.at = voxel.map((index, axis) => clamp(index, 0, lesion.scan.counts[axis] - 1))
  nv.scene.crosshairPos = state.at.map((index, axis) => (index + 0.5) / lesion.scan.counts[axis])
  nv.scene.pan2Dxyzmm = [...pan(), state.zoom]
  nv.drawScene()
  read()
}

function pan() { // moved so that nothing but the region is seen
  const [from, to] = [nv.volumes[0].extentsMinOrtho, nv.volumes[0].extentsMaxOrtho]
  state.pan = state.pan.map((value, axis) => clamp(value, to[axis] * (1 - state.zoom), from[axis] * (1 - state.zoom)))
  return state.pan
}

function zoom(factor) { // about the cross
  const before = state.zoom
  const cross = nv.frac2mm(nv.scene.crosshairPos)
  state.zoom = clamp(before * factor, ...ZOOM)
  state.pan = state.pan.map((value, axis) => value + (before - state.zoom) * cross[axis])
  move(state.at)
}

function scroll(plane, by) {
  const { depth } = PLANES[plane]
  move(state.at.map((index, axis) => index + (axis === depth ? by : 0)))
}

function read() {
  const [x, y, z] = millimetres(state.at)
  byId('at').textContent = minus(`x ${x.toFixed(1)}, `) + minus(`y ${y.toFixed(1)}, `) + minus(`z ${z.toFixed(1)} mm`)
  const value = valueAt(lesion.scan, state.at)
  byId('value').textContent = minus(Number.isInteger(value) ? String(value) : value.toPrecision(4)) + (page.unit === 'HU' ? ' HU' : '')
  for (const name of ['probability', 'entropy']) {
    byId(name).textContent = looked() ? UNITS[name][1](valueAt(lesion[name], state.at)) : 'not looked at'
  }
  byId('marked').textContent = markedBy() || 'no hypothesis'
  PLANES.forEach(readSlice)
}

function looked() { return state.at.every((index, axis) => index >= lesion.looked[axis][0] && index < lesion.looked[axis][1]) }

function markedBy() {
  const found = buttons().map((_, index) => [index + 1, labelAt(index, state.at)]).filter(([, label]) => label)
  return found.map(([rank, label]) => lesion.classes.length > 1 ? `${rank} (${lesion.classes[label - 1]})` : rank).join(', ')
}

function readSlice(plane, number) {
  const slider = byId(`slice-${plane.name.toLowerCase()}`)
  const index = state.at[plane.depth]
  const place = millimetres(state.at)[plane.depth]
  slider.value = String(index + 1)
  let text = minus(`slice ${index + 1} of ${lesion.scan.counts[plane.depth]}, ${'xyz'[plane.depth]} = ${place.toFixed(1)} mm`)
  if (number === 0 && !flat()) text += `, ${lesion.from + index + 1} of ${lesion.slices} in the scan`
  slider.nextElementSibling.value = text
  slider.setAttribute('aria-valuetext', text)
  slider.parentElement.classList.toggle('active', number === state.plane)
}

function prepareSlices() {
  for (const plane of PLANES) {
    const slider = byId(`slice-${plane.name.toLowerCase()}`)
    slider.max = String(lesion.scan.counts[plane.depth])
    slider.parentElement.hidden = flat() && plane.depth !== 2
    slider.disabled = lesion.scan.counts[plane.depth] === 1
  }
  arrange()
}

function flat() { return lesion.scan.counts[2] === 1 }

function arrange() { // axial beside or above the two others
  if (!lesion) return
  const [a, b] = [0.63, 0.37]
  const wide = views.clientWidth > 1.15 * views.clientHeight
  const three = wide
    ? [[0, 0, a, 1], [a, 0, b, 0.5], [a, 0.5, b, 0.5]]
    : [[0, 0, 1, a], [0, a, 0.5, b], [0.5, a, 0.5, b]]
  nv.setCustomLayout(flat() ? [{ sliceType: 0, position: [0, 0, 1, 1] }] : three.map((position, sliceType) => ({ sliceType, position })))
}

// What is drawn above the scan

function paint() {
  if (!lesion || !nv.volumes.length || !nv.customLayout) return
  Object.assign(marks, { width: scan.width, height: scan.height })
  const pen = marks.getContext('2d')
  placeLegend(nv.screenSlices[0])
  for (const [index, tile] of nv.screenSlices.entries()) {
    const frame = frameOf(tile, index)
    pen.save()
    pen.beginPath()
    pen.rect(...tile.leftTopWidthHeight)
    pen.clip()
    if (state.map !== 'none') paintMap(pen, frame)
    paintLooked(pen, frame)
    for (const number of [...state.shown].sort((a, b) => b - a)) paintMask(pen, frame, number)
    if (state.cross) paintCross(pen, frame)
    paintWords(pen, frame)
    pen.restore()
  }
}

function frameOf(tile, index) { // where the voxels of a plane lie on the canvas, as NiiVue says
  const plane = PLANES[tile.axCorSag]
  const [left, top, width, height] = tile.leftTopWidthHeight
  const near = nv.screenXY2TextureFrac(left + width / 4, top + height / 4, index, false)
  const far = nv.screenXY2TextureFrac(left + 3 * width / 4, top + 3 * height / 4, index, false)
  const axis = (name, begin, length) => {
    const count = lesion.scan.counts[plane[name]]
    const scale = length / 2 / (far[plane[name]] - near[plane[name]]) / count
    return { scale, origin: begin + length / 4 - near[plane[name]] * scale * count }
  }
  const x = axis('across', left, width)
  const y = axis('up', top, height)
  const place = (u, v) => [x.origin + u * x.scale, y.origin + v * y.scale]
  return { plane, left, top, width, height, x, y, place, ratio: scan.width / views.clientWidth }
}

function paintMap(pen, { plane, x, y }) { // the slice's voxels as pixels, stretched to where they lie
  const file = lesion[state.map]
  const [width, height] = [file.counts[plane.across], file.counts[plane.up]]
  const table = tableOf(state.map)
  const picture = new ImageData(width, height)
  const strides = [1, file.counts[0], file.counts[0] * file.counts[1]]
  const first = state.at[plane.depth] * strides[plane.depth]
  for (let v = 0; v < height; v++) {
    for (let u = 0; u < width; u++) {
      const value = file.values[first + u * strides[plane.across] + v * strides[plane.up]]
      picture.data.set(table.subarray(4 * value, 4 * value + 4), 4 * (u + width * v))
    }
  }
  const voxels = new OffscreenCanvas(width, height)
  voxels.getContext('2d').putImageData(picture, 0, 0)
  pen.save()
  pen.globalAlpha = state.opacity
  pen.transform(x.scale, 0, 0, y.scale, x.origin, y.origin)
  pen.drawImage(voxels, 0, 0)
  pen.restore()
}

function paintMask(pen, frame, number) {
  const colour = page.colours[number % page.colours.length]
  const shape = new Path2D()
  for (const loop of loopsOf(number, frame.plane)) {
    loop.forEach(([u, v], index) => shape[index ? 'lineTo' : 'moveTo'](...frame.place(u, v)))
    shape.closePath()
  }
  pen.lineJoin = 'round'
  pen.globalAlpha = state.opacity
  if (state.style === 'fill') {
    pen.globalAlpha = FILL * state.opacity
    pen.fillStyle = colour
    pen.fill(shape, 'evenodd')
    pen.globalAlpha = state.opacity
  } else {
    pen.strokeStyle = 'rgba(0, 0, 0, 0.55)'
    pen.lineWidth = 3.4 * frame.ratio
    pen.stroke(shape)
  }
  pen.strokeStyle = colour
  pen.lineWidth = (state.style === 'fill' ? 1 : 1.8) * frame.ratio
  pen.stroke(shape)
  if (lesion.classes.length > 1) paintLabels(pen, frame, number)
  pen.globalAlpha = 1
}

function loopsOf(number, plane) { // borders of a mask's classes in the slice through the cross, kept for the next time
  const key = [number, plane.depth, state.at[plane.depth]].join()
  if (!lesion.loops.has(key)) {
    const found = labelsIn(number, plane).flatMap(label => loopsAbout(sliceOf(number, plane, label), plane))
    lesion.loops.set(key, found)
  }
  return lesion.loops.get(key)
}

function labelsIn(number, plane) {
  return lesion.classes.map((_, index) => index + 1).filter(label => sliceOf(number, plane, label).some(Boolean))
}

function sliceOf(number, plane, label) {
  const { counts, values } = lesion.masks
  const strides = [1, counts[0], counts[0] * counts[1]]
  const width = counts[plane.across]
  const first = number * strides[2] * counts[2] + state.at[plane.depth] * strides[plane.depth]
  return Uint8Array.from({ length: width * counts[plane.up] }, (_, index) =>
    values[first + index % width * strides[plane.across] + Math.floor(index / width) * strides[plane.up]] === label)
}

function loopsAbout(inside, plane) { // closed lines along the voxels' edges, the inside always to the same hand
  const [width, height] = [lesion.scan.counts[plane.across], lesion.scan.counts[plane.up]]
  const at = (u, v) => u >= 0 && v >= 0 && u < width && v < height && inside[u + width * v]
  const edges = new Map()
  const add = (u, v, toU, toV) => {
    const from = u + (width + 1) * v
    edges.set(from, [...(edges.get(from) || []), [toU, toV]])
  }
  for (let v = 0; v < height; v++) {
    for (let u = 0; u < width; u++) {
      if (!at(u, v)) continue
      if (!at(u, v - 1)) add(u, v, u + 1, v)
      if (!at(u + 1, v)) add(u + 1, v, u + 1, v + 1)
      if (!at(u, v + 1)) add(u + 1, v + 1, u, v + 1)
      if (!at(u - 1, v)) add(u, v + 1, u, v)
    }
  }
  return chained(edges, width)
}

function chained(edges, width) {
  const loops = []
  while (edges.size) {
    const loop = []
    let from = edges.keys().next().value
    while (edges.has(from)) {
      const ways = edges.get(from)
      const next = ways.pop()
      if (!ways.length) edges.delete(from)
      loop.push(next)
      from = next[0] + (width + 1) * next[1]
    }
    loops.push(loop)
  }
  return loops
}

function paintLabels(pen, frame, number) { // the class's number at the voxel nearest to the middle of its part
  const width = lesion.scan.counts[frame.plane.across]
  for (const label of labelsIn(number, frame.plane)) {
    const inside = sliceOf(number, frame.plane, label)
    const voxels = [...inside.keys()].filter(index => inside[index]).map(index => [index % width, Math.floor(index / width)])
    const mean = [0, 1].map(axis => voxels.reduce((sum, voxel) => sum + voxel[axis], 0) / voxels.length)
    const distance = voxel => Math.hypot(voxel[0] - mean[0], voxel[1] - mean[1])
    const [u, v] = voxels.reduce((best, voxel) => distance(voxel) < distance(best) ? voxel : best)
    write(pen, frame, String(label), ...frame.place(u + 0.5, v + 0.5), 'center', 'middle', 11, page.colours[number % page.colours.length])
  }
}

function paintLooked(pen, { plane, place, ratio }) { // what the model looked at, where the region is larger
  const axes = [plane.across, plane.up]
  if (axes.every(axis => lesion.looked[axis][1] - lesion.looked[axis][0] === lesion.scan.counts[axis])) return
  const [x, y] = place(...axes.map(axis => lesion.looked[axis][0]))
  const [right, top] = place(...axes.map(axis => lesion.looked[axis][1]))
  pen.setLineDash([2 * ratio, 4 * ratio])
  pen.lineWidth = ratio
  pen.strokeStyle = 'rgba(255, 255, 255, 0.4)'
  pen.strokeRect(x, y, right - x, top - y)
  pen.setLineDash([])
}

function paintCross(pen, { plane, place, left, top, width, height, ratio }) {
  const [x, y] = place(state.at[plane.across] + 0.5, state.at[plane.up] + 0.5)
  const gap = 14 * ratio
  pen.strokeStyle = 'rgba(235, 240, 250, 0.5)'
  pen.lineWidth = ratio
  pen.beginPath()
  for (const [fromX, fromY, toX, toY] of [
    [left, y, x - gap, y], [x + gap, y, left + width, y], [x, top, x, y - gap], [x, y + gap, x, top + height]
  ]) {
    pen.moveTo(fromX, fromY)
    pen.lineTo(toX, toY)
  }
  pen.stroke()
}

function paintWords(pen, frame) {
  const { plane, left, top, width, height, ratio, x, y } = frame
  const pad = 8 * ratio
  const [middleX, middleY] = [left + width / 2, top + height / 2]
  write(pen, frame, ends(plane.across, x.scale < 0), left + pad, middleY, 'left', 'middle', 14)
  write(pen, frame, ends(plane.across, x.scale > 0), left + width - pad, middleY, 'right', 'middle', 14)
  write(pen, frame, ends(plane.up, y.scale < 0), middleX, top + pad, 'center', 'top', 14)
  write(pen, frame, ends(plane.up, y.scale > 0), middleX, top + height - pad, 'center', 'bottom', 14)
  const active = !flat() && PLANES.indexOf(plane) === state.plane
  write(pen, frame, `${plane.name}${active ? ' ●' : ''}`, left + pad, top + pad, 'left', 'top', 12, active ? '#a9d0f7' : '#c9d1dd')
  paintScale(pen, frame)
}

function ends(axis, last) { // the side of the patient towards the first or last voxel of an axis; two letters where it is tilted
  const column = lesion.scan.rows.map(row => row[axis])
  const length = Math.hypot(...column)
  const order = [0, 1, 2].sort((a, b) => Math.abs(column[b]) - Math.abs(column[a]))
  const letters = order.map(world => ENDS[world][Number((column[world] > 0) === last)])
  return letters.filter((_, place) => place === 0 || (place === 1 && Math.abs(column[order[1]]) > 0.3 * length)).join('')
}

function paintScale(pen, frame) {
  const { plane, left, top, width, height, ratio, x } = frame
  const step = Math.hypot(...lesion.scan.rows.map(row => row[plane.across]))
  const pixels = Math.abs(x.scale) / step // a millimetre's
  const length = [50, 20, 10, 5, 2, 1].find(mm => mm * pixels < width / 3.2) || 1
  const [fromX, baseY] = [left + 12 * ratio, top + height - 14 * ratio]
  for (const [colour, thick] of [['rgba(0, 0, 0, 0.7)', 4], ['#ffffff', 2]]) {
    pen.strokeStyle = colour
    pen.lineWidth = thick * ratio
    pen.beginPath()
    pen.moveTo(fromX, baseY)
    pen.lineTo(fromX + length * pixels, baseY)
    pen.stroke()
  }
  write(pen, frame, `${length} mm`, fromX, baseY - 5 * ratio, 'left', 'bottom', 12)
}

function write(pen, { ratio }, text, x, y, align, baseline, size, colour = '#ffffff') { // light on a dark rim
  pen.font = `600 ${size * ratio}px system-ui, sans-serif`
  pen.textAlign = align
  pen.textBaseline = baseline
  pen.lineJoin = 'round'
  pen.lineWidth = 2.4 * ratio
  pen.strokeStyle = 'rgba(0, 0, 0, 0.6)'
  pen.strokeText(text, x, y)
  pen.fillStyle = colour
  pen.fillText(text, x, y)
}

// Mouse and keys

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

// The beginning

function reveal(on) { // what is of use with the views only
  document.body.classList.toggle('live', on)
  document.querySelectorAll('.viewer, .choose, .which, .help').forEach(part => { part.hidden = !on })
  document.querySelectorAll('.hypothesis').forEach(button => { button.disabled = !on })
}

function stop(error) { // the pictures and figures of all lesions stay
  lesion = null
  reveal(false)
  for (const article of articles) article.hidden = false
  const said = byId('stopped')
  said.hidden = false
  said.textContent = `The interactive views cannot be shown here, pictures stand in their place. Reason: ${error.message}`
}

function run(work) { work.catch(stop) }

async function start() {
  if (typeof DecompressionStream === 'undefined') throw new Error('the browser is too old (it lacks DecompressionStream).')
  reveal(true)
  nv = new niivue.Niivue({
    interactive: false, dragAndDropEnabled: false, isRadiologicalConvention: true, sagittalNoseLeft: true, multiplanarShowRender: 0,
    isOrientationTextVisible: false, crosshairWidth: 0, backColor: [0.04, 0.05, 0.06, 1], loadingText: '', logLevel: 'error'
  })
  const draw = nv.drawScene.bind(nv)
  nv.drawScene = () => { // so that the marks always lie where the scan does
    const said = draw()
    paint()
    return said
  }
  await nv.attachToCanvas(scan)
  scan.addEventListener('webglcontextlost', () => stop(new Error('the browser took the graphics away; load the page again.')))
  listen()
  await choose(0)
}

run(start())
