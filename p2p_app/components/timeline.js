// Windows over the steps as one picture.
// Value: {steps, cross, self, faders, words, names, amount, guidance, negative, run, auto}.
import { board, interactive, make, put } from './common.js';

const PRESETS = [
  ['strict', [0, 1], [0, 0.8], 'keep layout and shapes as they are'],
  ['balanced', [0, 0.8], [0, 0.4], 'keep the layout, let shapes follow the words'],
  ['a hint', [0, 0.3], [0, 0.1], 'only begin like the source'],
  ['off', [0, 0], [0, 0], 'nothing is held: only the noise is the same'],
];
const LANES = [
  ['cross', 'layout', 'cross-attention of the source: where each word goes'],
  ['self', 'shape', 'self-attention of the source: outlines and texture'],
  ['faders', 'faders', 'during which steps the faders hold'],
];
const stepAt = (f, n) => Math.floor(f * n + 0.5 + 1e-9);
const span = (lo, hi) => (hi > lo ? `${lo} \u2013 ${hi}` : 'off');
const windowOf = (v, name) => (name.startsWith('@') ? v.words?.[name.slice(1)] : v[name]) || [0, 0];

function lane(name, label, title) {
  const row = make(
    'div',
    `lane ${name.startsWith('@') ? 'word' : name === 'faders' ? 'weights' : name}`,
    null,
    { title },
  );
  row.dataset.lane = name;
  const well = make('div', 'well');
  well.append(make('i', 'fill'));
  for (const [end, side] of [
    ['start', 0],
    ['end', 1],
  ])
    well.append(
      make('input', end, null, {
        type: 'range',
        min: 0,
        step: 1,
        'data-side': side,
        'aria-label': `${label}: ${end} of its window`,
      }),
    );
  const head = make('span', 'label', label);
  row.append(head, well, make('output'));
  if (name.startsWith('@'))
    row.append(make('button', 'quiet drop', '\u00d7', { 'aria-label': `no window of its own for ${label}` }));
  return row;
}

// What the target has of its own; an empty field is the source's.
function own() {
  const more = make('details', 'own');
  const field = (name, label, attributes) => {
    const row = make('label', name);
    row.append(make('span', 'label', label), make('input', '', null, { 'data-own': name, ...attributes }));
    return row;
  };
  const fields = make('div');
  fields.append(
    field('guidance', 'guidance', {
      type: 'number',
      min: 0,
      max: 100,
      step: 0.5,
      placeholder: 'the source\u2019s',
      'aria-label': 'guidance of the edit',
    }),
    field('negative', 'without', {
      type: 'text',
      maxlength: 4000,
      placeholder: 'the source\u2019s negative prompt',
      'aria-label': 'negative prompt of the edit',
    }),
  );
  more.append(make('summary', '', 'more', { title: 'what the edit has of its own' }), fields);
  return more;
}

function build(b) {
  // once: whatever is in focus or under the finger stays
  const bar = make('div', 'bar');
  const more = make('select', 'more', null, {
    'aria-label': 'a window of its own for a word',
    title: 'a window of its own for a word',
  });
  bar.append(make('h2', '', 'Timeline'), make('span', 'hint count'), own(), more);
  const presets = make('p', 'row presets', null, {
    role: 'group',
    'aria-label': 'how firmly the source holds',
  });
  presets.append(
    make('button', 'chip pick auto', 'auto', { title: 'layout and shape are held as the change needs it' }),
    ...PRESETS.map(([title, , , hint], i) =>
      make('button', 'chip pick', title, { 'data-preset': i, title: hint }),
    ),
  );
  const score = make('div', 'score');
  const ran = make('div', 'lane ran', null, { role: 'img' });
  ran.append(make('span', 'label', 'steps'), make('div', 'cells'), make('output', 'told'));
  const amount = make('label', 'lane amount', null, { title: 'amount of the edit: at 0 it is the source' });
  const well = make('div', 'well');
  const slider = { type: 'range', min: 0, max: 1, step: 0.05, 'aria-label': 'amount of the edit' };
  well.append(make('i', 'fill'), make('input', 'end', null, slider));
  amount.append(make('span', 'label', 'amount'), well, make('output'));
  score.append(...LANES.map((l) => lane(...l)), amount, ran);
  b.append(bar, presets, score);
}

// The words to choose from, and the lanes of those that have been chosen; a lane that stays is the same one.
function words(b, v) {
  const names = Object.fromEntries(v.names || []);
  const own = Object.keys(v.words || {}).filter((key) => key in names);
  const more = b.querySelector('.more');
  more.replaceChildren(
    make('option', '', '+ word', { value: '' }),
    ...(v.names || [])
      .filter(([key]) => !own.includes(key))
      .map(([key, text]) => make('option', '', text, { value: key })),
  );
  const score = b.querySelector('.score');
  const old = new Map([...score.querySelectorAll('.lane.word')].map((row) => [row.dataset.lane, row]));
  const lost = [...old].some(
    ([name, row]) => !own.includes(name.slice(1)) && row.contains(document.activeElement),
  );
  for (const [name, row] of old) if (!own.includes(name.slice(1))) row.remove();
  const last = score.querySelector('.amount');
  for (const key of own) {
    const row = old.get(`@${key}`);
    if (!row)
      score.insertBefore(
        lane(`@${key}`, names[key], `cross-attention of \u201c${names[key]}\u201d alone`),
        last,
      );
  }
  if (lost) more.focus({ preventScroll: true });
}

function draw() {
  const b = board();
  if (!b) return;
  const v = props.value || {};
  const n = v.steps || 30;
  const signature = JSON.stringify([v.names || [], Object.keys(v.words || {})]);
  if (!b.children.length) build(b);
  if (b.dataset.lanes !== signature) {
    words(b, v);
    b.dataset.lanes = signature;
  }
  b.querySelector('.count').textContent = `of ${n} steps`;
  for (const row of b.querySelectorAll('[data-lane]')) {
    const ends = windowOf(v, row.dataset.lane).map((f) => stepAt(f, n));
    row.querySelectorAll('input').forEach((input, side) => {
      input.max = n;
      input.value = ends[side];
      input.setAttribute('aria-valuetext', `step ${ends[side]} of ${n}`);
    });
    row.style.setProperty('--lo', ends[0] / n);
    row.style.setProperty('--hi', ends[1] / n);
    row.classList.toggle('none', ends[1] <= ends[0]);
    row.querySelector('output').textContent = span(ends[0], ends[1]);
  }
  const amount = b.querySelector('.amount');
  const part = v.amount ?? 1;
  amount.querySelector('input').value = part;
  amount.querySelector('output').textContent = part.toFixed(2);
  amount.style.setProperty('--lo', 0);
  amount.style.setProperty('--hi', part);
  const more = b.querySelector('.own');
  for (const input of more.querySelectorAll('input'))
    if (input !== document.activeElement) input.value = v[input.dataset.own] ?? '';
  more.firstChild.classList.toggle('set', v.guidance != null || Boolean(v.negative));
  const same = (a, c) => a && stepAt(a[0], n) === stepAt(c[0], n) && stepAt(a[1], n) === stepAt(c[1], n);
  for (const chip of b.querySelectorAll('[data-preset]')) {
    const [, cross, self] = PRESETS[chip.dataset.preset];
    const on = !v.auto && same(v.cross, cross) && same(v.self, self) && !Object.keys(v.words || {}).length;
    chip.classList.toggle('on', on);
    chip.setAttribute('aria-pressed', String(on));
  }
  const auto = b.querySelector('.auto');
  auto.classList.toggle('on', Boolean(v.auto));
  auto.setAttribute('aria-pressed', String(Boolean(v.auto)));
  const cells = b.querySelector('.cells');
  const run = v.run;
  const known = run ? run.total - run.computed : 0;
  if (cells.children.length !== n) cells.replaceChildren(...Array.from({ length: n }, () => make('i')));
  [...cells.children].forEach((cell, i) => {
    cell.className = !run ? '' : i >= known ? 'new' : 'old';
  });
  b.querySelector('.told').textContent = run ? (run.computed ? `${run.computed} new` : 'none new') : '';
  const ran = b.querySelector('.ran');
  ran.title = !run
    ? 'which steps a run computes and which it knows already'
    : run.computed
      ? `dark: the ${run.computed} steps that the last run computed; light: the ${known} that it knew already`
      : 'every step was known, none was computed';
  ran.setAttribute('aria-label', ran.title);
}

element.addEventListener('input', (e) => {
  if (e.target.closest('.own')) e.stopPropagation(); // it counts once it is said
  if (e.target.closest('.amount')) {
    e.stopPropagation();
    put({ amount: Number(e.target.value) }, 'input');
  }
  const row = e.target.closest('[data-lane]');
  if (!row) return;
  e.stopPropagation();
  const v = props.value;
  const n = v.steps;
  const name = row.dataset.lane;
  const ends = windowOf(v, name).map((f) => stepAt(f, n));
  const side = Number(e.target.dataset.side);
  ends[side] = Number(e.target.value);
  if (side === 0) ends[1] = Math.max(ends[0], ends[1]);
  else ends[0] = Math.min(ends[0], ends[1]);
  const now = ends.map((k) => k / n);
  const change = name.startsWith('@') ? { words: { ...v.words, [name.slice(1)]: now } } : { [name]: now };
  put(name === 'faders' ? change : { ...change, auto: false }, 'input');
});
element.addEventListener('change', (e) => {
  e.stopPropagation();
  const name = e.target.dataset.own;
  if (name) {
    const said = e.target.value.trim();
    put({ [name]: said === '' ? null : name === 'guidance' ? Number(said) : said }, 'input');
  }
  if (!e.target.matches('.more') || !e.target.value) return;
  const v = props.value;
  put({ words: { ...(v.words || {}), [e.target.value]: [...v.cross] }, auto: false }, 'input');
});
element.addEventListener('click', (e) => {
  const drop = e.target.closest('.drop');
  if (drop) {
    const words = { ...props.value.words };
    delete words[drop.closest('[data-lane]').dataset.lane.slice(1)];
    put({ words }, 'input');
    return;
  }
  if (e.target.closest('.auto')) {
    put({ auto: true, words: {} }, 'input');
    return;
  }
  const chip = e.target.closest('[data-preset]');
  if (!chip) return;
  const [, cross, self] = PRESETS[chip.dataset.preset];
  put({ cross: [...cross], self: [...self], words: {}, auto: false }, 'input');
});
interactive(draw);
