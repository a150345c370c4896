// The first-run walk. Value: {steps: [{title, text, after}], done: [bool], clicked}.
import { board, interactive, make, put, setText } from './common.js';

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
  ['Ctrl Z', 'undo, with Shift redo'],
  ['g', 'to the source prompt', true],
  ['e', 'to the edit prompt', true],
  ['[ ]', 'through the history', true],
  ['0', 'all faders to 1', true],
  ['?', 'this guide', true],
];
let open = !remembered().closed;
let keysToo = false; // the keys are shown below: somebody has asked for the guide
let at = null; // the step whose sentence is shown; it stays until "next"
let opener = null;
function build(b, steps) {
  // once: a button that is replaced loses whoever stands on it
  const list = make('ol');
  steps.forEach((step, i) => {
    const item = make('li');
    item.append(make('button', 'step', step.title, { 'data-i': i }));
    list.append(item);
  });
  const say = make('p', 'say', null, { role: 'status' });
  const next = make('button', 'quiet next', 'next');
  const more = make('button', 'quiet more-keys', 'keys', { title: 'what the keys do' });
  const close = make('button', 'quiet close', 'close', { 'aria-label': 'close the guide', title: 'Escape' });
  const foot = make('div', 'foot');
  const keys = make('dl', 'keys');
  for (const [key, what, single] of KEYS) {
    const pair = make('div', single ? 'single' : '');
    pair.append(make('dt', '', key), make('dd', '', what));
    keys.append(pair);
  }
  const label = make('label', 'check');
  label.append(
    make('input', 'single-keys', null, { type: 'checkbox' }),
    make('span', '', 'single keys do something'),
  );
  label.title = 'turn off if you speak to the computer, or strike keys by accident';
  foot.append(keys, label);
  const bar = make('div', 'strip');
  bar.append(make('h2', '', 'Three edits in a minute', { id: 'guide-title' }), list, say, next, more, close);
  b.replaceChildren(bar, foot);
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
  if (b.hidden) return;
  const first = steps.findIndex((_, i) => !done[i]);
  at ??= first < 0 ? steps.length - 1 : first;
  [...b.querySelectorAll('li')].forEach((item, i) => {
    const ready = i === 0 || done[i - 1] || done[i];
    item.className = `${done[i] ? 'done' : ready ? 'ready' : 'later'}${i === at ? ' shown' : ''}`;
    item.firstChild.disabled = !ready;
  });
  setText(b.querySelector('.say'), done[at] ? steps[at].after : steps[at].text);
  const next = b.querySelector('.next');
  next.hidden = !done[at];
  setText(next, at + 1 < steps.length ? 'next' : 'finish');
  b.querySelector('.foot').hidden = !keysToo;
  b.querySelector('.more-keys').setAttribute('aria-expanded', String(keysToo));
  const single = remembered().keys !== false;
  b.querySelector('.single-keys').checked = single;
  b.classList.toggle('no-single', !single);
}
function toggle(to) {
  const was = open;
  open = to ?? !open;
  keysToo = open;
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
  if (e.target.closest('.next')) {
    if (at + 1 < props.value.steps.length) {
      at += 1;
      draw();
      board().querySelectorAll('.step')[at].focus({ preventScroll: true });
    } else toggle(false);
    return;
  }
  if (e.target.closest('.more-keys')) {
    keysToo = !keysToo;
    draw();
    return;
  }
  const step = e.target.closest('.step');
  if (step) at = Number(step.dataset.i);
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
