'use strict'
// The voxel under the cross, its values, and which part of the planes is visible.

const ZOOM = [1, 8]

function move(voxel) {
  state.at = voxel.map((index, axis) => clamp(index, 0, lesion.scan.counts[axis] - 1))
  nv.scene.crosshairPos = state.at.map((index, axis) => (index + 0.5) / lesion.scan.counts[axis])
  nv.scene.pan2Dxyzmm = [...pan(), state.zoom]
  nv.drawScene()
  read()
}

function pan() { // limited so that nothing but the region is visible
  const [from, to] = [nv.volumes[0].extentsMinOrtho, nv.volumes[0].extentsMaxOrtho]
  state.pan = state.pan.map((value, axis) => clamp(value, to[axis] * (1 - state.zoom), from[axis] * (1 - state.zoom)))
  return state.pan
}

function zoom(factor) { // around the cross
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
  byId('at').textContent = minus(`x ${x.toFixed(1)}, `) + minus(`y ${y.toFixed(1)}, `) + minus(`z ${z.toFixed(1)} ${page.length}`)
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
  let text = minus(`slice ${index + 1} of ${lesion.scan.counts[plane.depth]}, ${'xyz'[plane.depth]} = ${place.toFixed(1)} ${page.length}`)
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

function arrange() { // axial beside or above the other two
  if (!lesion) return
  const [a, b] = [0.63, 0.37]
  const wide = views.clientWidth > 1.15 * views.clientHeight
  const three = wide
    ? [[0, 0, a, 1], [a, 0, b, 0.5], [a, 0.5, b, 0.5]]
    : [[0, 0, 1, a], [0, a, 0.5, b], [0.5, a, 0.5, b]]
  nv.setCustomLayout(flat() ? [{ sliceType: 0, position: [0, 0, 1, 1] }] : three.map((position, sliceType) => ({ sliceType, position })))
}
