// Injection windows over the steps. Value: {steps, cross: [lo, hi], self: [lo, hi], run, blend}, see ui/timeline.py.
const PRESETS = [
  ['strict', [0, 1], [0, 0.8]], ['balanced', [0, 0.8], [0, 0.4]], ['a hint', [0, 0.3], [0, 0.1]], ['off', [0, 0], [0, 0]],
];
const LANES = [
  ['cross', 'layout', 'cross-attention: where each word goes'],
  ['self', 'shape', 'self-attention: outlines and texture'],
];
const stepAt = (f, n) => Math.floor(f * n + 0.5 + 1e-9);
const span = (lo, hi) => (hi > lo ? `${lo} \u2013 ${hi}` : 'off');

function lane(name, label, title) {
  const row = make('div', `lane ${name}`, null, { 'data-lane': name, title });
  const well = make('div', 'well');
  well.append(make('i', 'fill'));
  for (const [end, side] of [['start', 0], ['end', 1]])
    well.append(make('input', end, null, { type: 'range', min: 0, step: 1, 'data-side': side, 'aria-label': `${label}: ${end} of injection` }));
  row.append(make('span', 'label', label), well, make('output'));
  return row;
}

function draw() {
  const b = board();
  if (!b) return;
  const v = props.value || {};
  const n = v.steps || 30;
  if (!b.children.length) {
    const bar = make('div', 'bar');
    bar.append(make('h2', '', 'Timeline'), make('span', 'hint count'));
    const ran = make('div', 'lane ran', null, { title: 'steps of the last edit: filled were computed, hollow were reused' });
    ran.append(make('span', 'label', 'computed'), make('div', 'cells'), make('output'));
    const presets = make('p', 'row presets', null, { role: 'group', 'aria-label': 'how firmly the source holds' });
    presets.append(...PRESETS.map(([title], i) => make('button', 'chip pick', title, { 'data-preset': i })));
    b.replaceChildren(bar, presets, ...LANES.map((l) => lane(...l)), ran);
  }
  b.querySelector('.count').textContent = `what the source holds, of ${n} steps`;
  for (const row of b.querySelectorAll('[data-lane]')) {
    const ends = (v[row.dataset.lane] || [0, 0]).map((f) => stepAt(f, n));
    row.querySelectorAll('input').forEach((input, side) => {
      input.max = n;
      input.value = ends[side];
      input.setAttribute('aria-valuetext', `step ${ends[side]} of ${n}`);
      // both thumbs at the far end: the start must stay within reach
      input.style.zIndex = side === 0 && ends[0] > n / 2 ? 3 : 2;
    });
    row.style.setProperty('--lo', ends[0] / n);
    row.style.setProperty('--hi', ends[1] / n);
    row.classList.toggle('none', ends[1] <= ends[0]);
    row.querySelector('output').textContent = span(ends[0], ends[1]);
  }
  const same = (a, c) => a && stepAt(a[0], n) === stepAt(c[0], n) && stepAt(a[1], n) === stepAt(c[1], n);
  for (const chip of b.querySelectorAll('[data-preset]')) {
    const [, cross, self] = PRESETS[chip.dataset.preset];
    const on = same(v.cross, cross) && same(v.self, self);
    chip.classList.toggle('on', on);
    chip.setAttribute('aria-pressed', String(on));
  }
  const cells = b.querySelector('.cells');
  const run = v.run;
  if (cells.children.length !== n) cells.replaceChildren(...Array.from({ length: n }, () => make('i')));
  [...cells.children].forEach((cell, i) => {
    cell.className = !run ? '' : i >= run.total - run.computed ? 'new' : 'old';
  });
  b.querySelector('.ran output').textContent = run ? `${run.computed} of ${run.total}` : '';
}

element.addEventListener('input', (e) => {
  const row = e.target.closest('[data-lane]');
  if (!row) return;
  e.stopPropagation();
  const n = props.value.steps;
  const ends = props.value[row.dataset.lane].map((f) => stepAt(f, n));
  const side = Number(e.target.dataset.side);
  ends[side] = Number(e.target.value);
  if (side === 0) ends[1] = Math.max(ends[0], ends[1]); else ends[0] = Math.min(ends[0], ends[1]);
  put({ [row.dataset.lane]: ends.map((k) => k / n) }, 'input');
});
element.addEventListener('change', (e) => e.stopPropagation());
element.addEventListener('click', (e) => {
  const chip = e.target.closest('[data-preset]');
  if (!chip) return;
  const [, cross, self] = PRESETS[chip.dataset.preset];
  put({ cross: [...cross], self: [...self] }, 'input');
});
watch('value', arrived);
draw();
