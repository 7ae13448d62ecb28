'use strict'
// The files of a lesion that the page holds, and their values at a voxel.

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
