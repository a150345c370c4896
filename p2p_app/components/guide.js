// The first-run walk. Value: {steps: [{title, text, after}], done: [bool], clicked}.
import { board, interactive, make, put } from './common.js';

const KEY = 'p2p-guide';
const remembered = () => {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {};
  }
};
const remember = (changes) => {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...changes }));
  } catch {
    /* private window */
  }
};
const KEYS = [
  // true: a single key, which can be turned off (WCAG 2.1.4)
  ['\u2191 \u2193', 'move the fader in focus'],
  ['Page \u2191 \u2193', 'move it further'],
  ['Home', 'back to 1'],
  ['Ctrl \u21b5', 'apply, or generate'],
  ['g', 'to the source prompt', true],
  ['e', 'to the edit prompt', true],
  ['[ ]', 'through the history', true],
  ['0', 'all faders to 1', true],
  ['?', 'this guide', true],
];
let open = !remembered().closed;
let opener = null;
function build(b, steps) {
  // once: a button that is replaced loses whoever stands on it
  const head = make('div', 'bar');
  head.append(
    make('h2', '', 'Three edits in a minute', { id: 'guide-title' }),
    make('button', 'quiet close', 'close', { 'aria-label': 'close the guide', title: 'Escape' }),
  );
  const list = make('ol');
  steps.forEach((step, i) => {
    const item = make('li');
    item.append(make('button', 'step', step.title, { 'data-i': i }), make('p'));
    list.append(item);
  });
  const foot = make('div', 'foot');
  const keys = make('dl', 'keys');
  for (const [key, what, single] of KEYS)
    keys.append(make('dt', single ? 'single' : '', key), make('dd', single ? 'single' : '', what));
  const label = make('label', 'check');
  label.append(
    make('input', 'single-keys', null, { type: 'checkbox' }),
    make('span', '', 'single keys do something'),
  );
  label.title = 'turn off if you speak to the computer, or strike keys by accident';
  foot.append(make('h3', '', 'Keys'), keys, label);
  b.replaceChildren(head, list, foot);
  b.setAttribute('role', 'dialog');
  b.setAttribute('aria-labelledby', 'guide-title');
}
function draw() {
  const b = board();
  if (!b) return;
  const { steps = [], done = [] } = props.value || {};
  const signature = JSON.stringify(steps.map((step) => step.title));
  if (b.dataset.steps !== signature) {
    build(b, steps);
    b.dataset.steps = signature;
  }
  b.hidden = !open || !steps.length;
  const next = steps.findIndex((_, i) => !done[i]);
  [...b.querySelectorAll('li')].forEach((item, i) => {
    const ready = i === 0 || done[i - 1] || done[i];
    const shown = i === next || (next < 0 && i === steps.length - 1); // the one that a phone shows
    item.className = `${done[i] ? 'done' : ready ? 'ready' : 'later'}${shown ? ' next' : ''}`;
    item.firstChild.disabled = !ready;
    const text = done[i] ? steps[i].after : steps[i].text;
    if (item.lastChild.textContent !== text) item.lastChild.textContent = text;
  });
  const single = remembered().keys !== false;
  b.querySelector('.single-keys').checked = single;
  b.classList.toggle('no-single', !single);
}
function toggle(to) {
  const was = open;
  open = to ?? !open;
  remember({ closed: !open });
  if (open && !was) opener = document.activeElement;
  const inside = element.contains(document.activeElement);
  draw();
  if (open && !was) board()?.querySelector('.close')?.focus();
  if (!open && was && (inside || document.activeElement === document.body)) {
    const back =
      opener?.isConnected && opener !== document.body ? opener : document.querySelector('#guide-button');
    back?.focus({ preventScroll: true });
    opener = null;
  }
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.close')) {
    toggle(false);
    return;
  }
  const step = e.target.closest('.step');
  if (step) put({ clicked: Number(step.dataset.i) }, 'select');
});
element.addEventListener('change', (e) => {
  e.stopPropagation();
  if (e.target.matches('.single-keys')) {
    remember({ keys: e.target.checked });
    draw();
  }
});
element.addEventListener('input', (e) => e.stopPropagation());
window.addEventListener('keydown', (e) => {
  if (e.key === 'Escape' && open) toggle(false);
});
window.addEventListener('p2p-guide', () => toggle());
interactive(draw);
if (open && document.activeElement === document.body)
  board()?.querySelector('.close')?.focus({ preventScroll: true });
