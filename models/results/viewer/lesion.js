'use strict'
// The lesion that is shown: which one, read from the page, and its first view.

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
