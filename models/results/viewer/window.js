'use strict'
// The range of values that is shown from black to white.

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
