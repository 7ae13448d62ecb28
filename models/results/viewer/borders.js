'use strict'
// The borders of masks in a slice, as closed lines along the voxels' edges.

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
