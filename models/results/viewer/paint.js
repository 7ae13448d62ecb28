'use strict'
// What is drawn above the scan, at the positions that NiiVue gives: masks, maps, letters, scale bars and the cross.

const ENDS = [['L', 'R'], ['P', 'A'], ['F', 'H']] // of the world's axes, where they begin and end
const FILL = 0.4

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

function frameOf(tile, index) { // where the voxels of a plane lie on the canvas, according to NiiVue
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
  paintScale(pen, frame)
  if (page.length === 'px') return // a picture has no sides of a patient
  write(pen, frame, ends(plane.across, x.scale < 0), left + pad, middleY, 'left', 'middle', 14)
  write(pen, frame, ends(plane.across, x.scale > 0), left + width - pad, middleY, 'right', 'middle', 14)
  write(pen, frame, ends(plane.up, y.scale < 0), middleX, top + pad, 'center', 'top', 14)
  write(pen, frame, ends(plane.up, y.scale > 0), middleX, top + height - pad, 'center', 'bottom', 14)
  const active = !flat() && PLANES.indexOf(plane) === state.plane
  write(pen, frame, `${plane.name}${active ? ' ●' : ''}`, left + pad, top + pad, 'left', 'top', 12, active ? '#a9d0f7' : '#c9d1dd')
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
  const length = [...(page.length === 'px' ? [1000, 500, 200, 100] : []), 50, 20, 10, 5, 2, 1].find(mm => mm * pixels < width / 3.2) || 1
  const [fromX, baseY] = [left + 12 * ratio, top + height - 14 * ratio]
  for (const [colour, thick] of [['rgba(0, 0, 0, 0.7)', 4], ['#ffffff', 2]]) {
    pen.strokeStyle = colour
    pen.lineWidth = thick * ratio
    pen.beginPath()
    pen.moveTo(fromX, baseY)
    pen.lineTo(fromX + length * pixels, baseY)
    pen.stroke()
  }
  write(pen, frame, `${length} ${page.length}`, fromX, baseY - 5 * ratio, 'left', 'bottom', 12)
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
