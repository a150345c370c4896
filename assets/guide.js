// The first-run walk. Value: {steps: [{title, text, example}], done: [bool], clicked}. What is done stays in this browser.
const KEY = 'p2p-guide';
const remembered = () => { try { return JSON.parse(localStorage.getItem(KEY)) || {}; } catch { return {}; } };
const remember = (changes) => { try { localStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...changes })); } catch { /* private window */ } };
const KEYS = [
  ['\u2191 \u2193', 'move the fader in focus'], ['Page \u2191 \u2193', 'move it further'], ['Home', 'back to 1'],
  ['g', 'to the source prompt'], ['e', 'to the edit prompt'], ['Ctrl \u21b5', 'apply'], ['[ ]', 'through the history'], ['0', 'all faders to 1'],
  ['?', 'this guide'],
];
let open = !remembered().closed;
function draw() {
  const b = board();
  if (!b) return;
  const { steps = [], done = [] } = props.value || {};
  b.hidden = !open || !steps.length;
  if (b.hidden) return;
  const close = make('button', 'quiet close', 'close', { 'aria-label': 'close the guide' });
  const head = make('div', 'bar');
  head.append(make('h2', '', 'Three edits in a minute'), close);
  const list = make('ol');
  steps.forEach((step, i) => {
    const ready = i === 0 || done[i - 1] || done[i];
    const item = make('li', done[i] ? 'done' : ready ? 'ready' : 'later');
    const button = make('button', 'step', step.title, { 'data-i': i });
    button.disabled = !ready;
    item.append(button, make('p', '', done[i] ? step.after : step.text));
    list.append(item);
  });
  const keys = make('dl', 'keys');
  for (const [key, what] of KEYS) keys.append(make('dt', '', key), make('dd', '', what));
  b.replaceChildren(head, list, make('h3', '', 'Keys'), keys);
}
function toggle(to) {
  open = to ?? !open;
  remember({ closed: !open });
  draw();
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.close')) { toggle(false); return; }
  const step = e.target.closest('.step');
  if (step) put({ clicked: Number(step.dataset.i) }, 'select');
});
element.addEventListener('keydown', (e) => { if (e.key === 'Escape') toggle(false); });
window.addEventListener('p2p-guide', () => toggle());
watch('value', draw);
draw();
