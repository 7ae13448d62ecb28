'use strict'
// The start: NiiVue draws the scan in three linked planes; the other parts draw on a second canvas above it.

function reveal(on) { // what is only useful with the views
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
  said.textContent = `The interactive views cannot be shown here. Pictures are shown instead. Reason: ${error.message}`
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
