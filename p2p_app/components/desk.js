// The desk: one vertical fader a word. Value: {words, weights, muted, solo, mode, picked}.
// Everything that comes from a prompt goes in by textContent or setAttribute.
import { board, interactive, isPressed, make, put } from './common.js';

const LOW = -2,
  HIGH = 2,
  STEP = 0.05,
  DETENT = 0.09;
const TICKS = ['two', 'one', 'zero', 'less', 'least'];
// A phone shows one large fader, that of the word which was tapped last; it lies on its side.
const PHONE = matchMedia('(max-width: 760px)');
let held = null;

const MODES = [
  ['gain', 'as the paper: a word counts as many times as its fader says'],
  ['share', 'a word takes attention from the others: the picture keeps its shape further out'],
];

const data = () => ({ words: [], weights: {}, muted: [], solo: [], picked: null, ...(props.value || {}) });
const spoken = (word) => /[\p{L}\p{N}]/u.test(word.text); // a comma is never silenced
const weightOf = (key) => (key in data().weights ? data().weights[key] : 1);
const shown = (v) => v.toFixed(2).replace('-', '\u2212');

function paint(fader, v) {
  const at = (x) => (x - LOW) / (HIGH - LOW);
  fader.style.setProperty('--from', Math.min(at(1), at(v)));
  fader.style.setProperty('--to', Math.max(at(1), at(v)));
  fader.style.setProperty('--far', `${Math.round(Math.min(1, 0.55 + Math.abs(v - 1) * 0.45) * 100)}%`);
  fader.dataset.dir = v > 1 ? 'up' : v < 1 ? 'down' : 'one';
  fader.querySelector('.value').textContent = shown(v);
  fader.querySelector('input').setAttribute('aria-valuetext', v.toFixed(2));
}

function fader(word) {
  const f = make('div', `fader${word.cut ? ' cut' : ''}`);
  f.dataset.key = word.key;
  f.dataset.state = word.state;
  f.append(make('output', 'value'));
  const well = make('div', 'well');
  well.append(make('i', 'groove'), ...TICKS.map((t) => make('i', `tick ${t}`)), make('i', 'fill'));
  const input = make('input');
  Object.assign(input, { type: 'range', min: LOW, max: HIGH, step: STEP, disabled: !!word.cut });
  input.setAttribute('aria-label', `weight of "${word.text}"`);
  input.title = word.cut
    ? 'past the model\u2019s length limit: no effect'
    : 'double-click or Home: back to 1';
  input.value = weightOf(word.key);
  well.append(input);
  f.append(well);
  const keys = make('div', 'keys');
  if (spoken(word)) {
    keys.append(
      make('button', 'mute', 'M', {
        title: 'mute: this word counts as 0',
        'aria-label': `mute "${word.text}"`,
        'aria-pressed': 'false',
      }),
      make('button', 'solo', 'S', {
        title: 'solo: every other word counts as 0',
        'aria-label': `solo "${word.text}"`,
        'aria-pressed': 'false',
      }),
    );
    for (const key of keys.children) key.disabled = !!word.cut;
  }
  f.append(keys);
  const name = make('button', 'word', word.text);
  name.title = word.cut ? 'past the model\u2019s length limit: no effect' : 'show where this word looks';
  name.setAttribute('aria-pressed', 'false');
  f.append(name);
  paint(f, weightOf(word.key));
  return f;
}

function header() {
  const bar = make('div', 'bar');
  bar.append(
    make('h2', '', 'Desk'),
    make('span', 'hint', 'turn a word up or down \u00b7 click a word to see where it looks'),
  );
  const all = make('button', 'quiet all', 'all to 1', {
    title: 'every fader back to 1, no word muted or solo (0)',
  });
  const mode = make('select', 'more', null, { 'aria-label': 'what a fader turns' });
  mode.append(...MODES.map(([name, title]) => make('option', '', name, { value: name, title })));
  bar.append(mode, all);
  return bar;
}

function draw() {
  const r = board();
  if (!r) return;
  const value = data();
  const signature = JSON.stringify(value.words);
  if (r.dataset.words !== signature) {
    const active = r.contains(document.activeElement) ? document.activeElement : null;
    const focused = active?.closest('.fader')?.dataset.key;
    const control = active && ['.mute', '.solo', '.word'].find((c) => active.matches(c));
    const was = r.querySelector('.faders')?.scrollLeft || 0;
    const faders = make('div', 'faders');
    faders.setAttribute('role', 'group');
    faders.setAttribute('aria-label', 'faders');
    for (const word of value.words) faders.append(fader(word));
    if (!value.words.length)
      faders.append(make('p', 'empty', 'The faders appear with the words of the edit prompt.'));
    if (!r.children.length) r.append(header(), faders);
    else r.lastChild.replaceWith(faders);
    faders.scrollLeft = was;
    r.dataset.words = signature;
    r.style.setProperty('--n', Math.max(1, value.words.length));
    const again = focused && [...faders.children].find((f) => f.dataset.key === focused);
    if (again)
      (again.querySelector(control || 'input') || again.querySelector('input')).focus({
        preventScroll: true,
      });
  }
  const keys = value.words.map((word) => word.key);
  const changed = value.words.findLast((word) => word.state !== 'kept' && !word.cut);
  const at = [held, value.picked, changed?.key, keys.find((key) => weightOf(key) !== 1)];
  const big = at.find((key) => keys.includes(key)) ?? keys.at(-1);
  let off = 0;
  const solo = value.solo.filter((key) => value.words.some((word) => word.key === key));
  for (const f of r.querySelectorAll('.fader')) {
    const { key } = f.dataset;
    const muted = value.muted.includes(key);
    f.classList.toggle(
      'silent',
      !!f.querySelector('.mute') && (muted || (solo.length > 0 && !solo.includes(key))),
    );
    f.querySelector('.mute')?.setAttribute('aria-pressed', String(muted));
    f.querySelector('.solo')?.setAttribute('aria-pressed', String(solo.includes(key)));
    off += muted + solo.includes(key);
    const v = weightOf(f.dataset.key);
    const input = f.querySelector('input');
    if (Number(input.value) !== v) input.value = v;
    f.classList.toggle('at', key === big);
    for (const name of ['orient', 'aria-orientation'])
      input.setAttribute(name, PHONE.matches ? 'horizontal' : 'vertical');
    paint(f, v);
    f.classList.toggle('picked', f.dataset.key === value.picked);
    f.querySelector('.word').setAttribute('aria-pressed', String(f.dataset.key === value.picked));
    off += v !== 1;
  }
  const mode = r.querySelector('.more');
  mode.value = value.mode || 'gain';
  mode.title = MODES.find(([name]) => name === mode.value)[1];
  // not `disabled`, which would drop the focus
  r.querySelector('.all').setAttribute('aria-disabled', String(!off));
}

function set(key, v) {
  const weights = { ...data().weights };
  v = Math.round(Math.min(HIGH, Math.max(LOW, v)) * 100) / 100;
  if (weightOf(key) === v) {
    draw();
    return;
  }
  delete weights[key]; // the youngest key goes last: the oldest are forgotten first
  if (v !== 1) weights[key] = v;
  put({ weights }, 'input');
}

element.addEventListener('input', (e) => {
  const f = e.target.closest('.fader');
  if (!f) return;
  e.stopPropagation();
  let v = Number(e.target.value);
  if (isPressed() && Math.abs(v - 1) < DETENT) v = 1;
  if (Number(e.target.value) !== v) e.target.value = v;
  set(f.dataset.key, v);
});
element.addEventListener('change', (e) => {
  e.stopPropagation();
  if (e.target.matches('.more')) put({ mode: e.target.value }, 'input');
});
element.addEventListener('keydown', (e) => {
  const f = e.target.closest('.fader');
  if (!f || !e.target.matches('input')) return;
  const by = { PageUp: 0.25, PageDown: -0.25 }[e.key];
  if (e.key === 'Home') {
    e.preventDefault();
    set(f.dataset.key, 1);
  } else if (by) {
    e.preventDefault();
    set(f.dataset.key, weightOf(f.dataset.key) + by);
  }
});
element.addEventListener('dblclick', (e) => {
  const f = e.target.closest('.fader');
  if (f && e.target.matches('input')) set(f.dataset.key, 1);
});
element.addEventListener('click', (e) => {
  if (e.target.closest('.all')) {
    if (e.target.closest('[aria-disabled=true]')) return;
    const weights = { ...data().weights };
    for (const word of data().words) delete weights[word.key];
    put({ weights, muted: [], solo: [] }, 'input');
    return;
  }
  const lever = e.target.closest('.mute, .solo');
  if (lever) {
    const list = lever.matches('.mute') ? 'muted' : 'solo';
    const { key } = lever.closest('.fader').dataset;
    const now = data()[list];
    put({ [list]: now.includes(key) ? now.filter((k) => k !== key) : [...now, key] }, 'input');
    return;
  }
  const name = e.target.closest('.word');
  if (!name) return;
  const { key } = name.closest('.fader').dataset;
  held = key;
  put({ picked: data().picked === key && !PHONE.matches ? null : key }, 'select');
});
PHONE.addEventListener('change', draw);
interactive(draw);
