// Where the edit may change the picture.
// Value: {words, chosen, out, threshold, start, soft, mask, pixels, show, auto, sharp, ask}.
import { board, interactive, make, put } from './common.js';

const KNOBS = [
  ['threshold', 'threshold', 0.05, 0.95, 0.05, 'how strongly a word must look at a place'],
  ['soft', 'soft edge', 0, 0.3, 0.02, 'how wide the edge of the region fades'],
  ['start', 'from', 0, 0.9, 0.05, 'when the region begins to hold, as a share of the steps'],
];
function build(b) {
  // once: whatever is in focus or under the finger stays
  const bar = make('div', 'bar');
  const label = make('label', 'check', null, { title: 'draw the region over the edited picture' });
  label.append(make('input', 'show', null, { type: 'checkbox' }), make('span', '', 'show it'));
  bar.append(make('h2', '', 'Region'), make('button', 'quiet paint', 'paint it'), label);
  const knobs = make('div', 'knobs');
  for (const [name, title, min, max, step, hint] of KNOBS) {
    const knob = make('label', 'knob', null, { title: hint });
    knob.append(
      make('span', '', title),
      make('output'),
      make('input', name, null, {
        type: 'range',
        min,
        max,
        step,
        'aria-label': `${title} of the region`,
        'data-knob': name,
      }),
    );
    knobs.append(knob);
  }
  const own = make('label', 'check own', null, {
    title: 'outside the region the picture itself, not what the autoencoder makes of it',
  });
  own.append(
    make('input', 'pixels', null, { type: 'checkbox' }),
    make('span', '', 'original pixels outside'),
  );
  bar.append(
    make('button', 'quiet auto', 'auto', { title: 'where a thing is changed, only its place may change' }),
  );
  const sharp = make('label', 'check sharp', null, {
    title: 'the words\u2019 places end where things end, by how the picture looks at itself',
  });
  sharp.append(make('input', 'sharpen', null, { type: 'checkbox' }), make('span', '', 'sharp edges'));
  const checks = make('div', 'checks');
  checks.append(own, sharp);
  const ask = make('input', 'ask', null, {
    type: 'text',
    maxlength: 80,
    placeholder: 'or where is \u2026 ? any word',
    'aria-label': 'where is \u2026 ? any word becomes the region',
  });
  b.append(
    bar,
    make('p', 'row words', null, { role: 'group', 'aria-label': 'words of the region' }),
    make('p', 'hint'),
    ask,
    knobs,
    checks,
  );
}
function pick(b, words) {
  const row = b.querySelector('.row');
  const focused = row.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  row.replaceChildren(
    ...words.map((word) => {
      const chip = make('button', 'chip pick', null, { 'data-key': word.key });
      if (word.old) chip.append(make('s', '', word.old));
      if (word.text) chip.append(make('b', '', word.text));
      return chip;
    }),
  );
  if (focused)
    ([...row.children].find((chip) => chip.dataset.key === focused) || row.firstChild)?.focus({
      preventScroll: true,
    });
}
function draw() {
  const b = board();
  if (!b) return;
  const v = {
    words: [],
    chosen: [],
    out: [],
    threshold: 0.3,
    start: 0.2,
    soft: 0,
    mask: '',
    pixels: false,
    show: false,
    auto: false,
    sharp: false,
    ...(props.value || {}),
  };
  const signature = JSON.stringify(v.words);
  if (!b.children.length) build(b);
  if (b.dataset.words !== signature) {
    pick(b, v.words);
    b.dataset.words = signature;
  }
  const none = !v.chosen.length && !v.mask;
  const auto = b.querySelector('.auto');
  auto.classList.toggle('on', v.auto);
  auto.setAttribute('aria-pressed', String(v.auto));
  for (const chip of b.querySelectorAll('.chip')) {
    const { key } = chip.dataset;
    const state = v.chosen.includes(key) ? 'in' : v.out.includes(key) ? 'out' : '';
    chip.dataset.state = state;
    chip.classList.toggle('on', state === 'in');
    chip.classList.toggle('out', state === 'out');
    chip.setAttribute('aria-pressed', state === 'in' ? 'true' : state === 'out' ? 'mixed' : 'false');
    chip.title = {
      in: 'part of the region; click to take its place out',
      out: 'its place is left out; click to forget it',
      '': 'click to change only where this word looks',
    }[state];
  }
  const paint = b.querySelector('.paint');
  paint.textContent = v.mask ? 'painted \u2713' : 'paint it';
  paint.title = v.mask ? 'change what is painted, or wipe it' : 'paint the region by hand';
  b.querySelector('.hint').textContent = v.out.length
    ? 'Left-out words need a word or paint to be left out of.'
    : 'Click words to change only where they look.';
  b.querySelector('.hint').hidden = !none;
  b.querySelector('.knobs').hidden = none;
  b.querySelector('.checks').hidden = none;
  b.querySelector('.show').checked = v.show;
  b.querySelector('.pixels').checked = v.pixels;
  b.querySelector('.sharpen').checked = v.sharp;
  const ask = b.querySelector('.ask');
  ask.hidden = !none;
  if (ask !== document.activeElement) ask.value = v.ask || '';
  b.querySelector('.bar .check').classList.toggle('off', none);
  b.querySelector('.show').disabled = none;
  for (const input of b.querySelectorAll('[data-knob]')) {
    const { knob } = input.dataset;
    const idle = none || (knob === 'threshold' && !v.chosen.length);
    input.disabled = idle;
    input.closest('.knob').classList.toggle('off', idle);
    input.value = v[knob];
    input.closest('.knob').querySelector('output').textContent = v[knob].toFixed(2);
  }
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.paint')) {
    trigger('edit');
    return;
  }
  if (e.target.closest('.auto')) {
    put({ auto: !props.value?.auto }, 'input');
    return;
  }
  const chip = e.target.closest('.chip');
  if (!chip) return;
  const { key, state } = chip.dataset;
  const { chosen = [], out = [] } = props.value || {};
  const without = { chosen: chosen.filter((k) => k !== key), out: out.filter((k) => k !== key) };
  if (state === '') without.chosen.push(key);
  // a word that stands only in the source can't be left out of the target's picture
  if (state === 'in' && !key.startsWith('-')) without.out.push(key);
  put({ ...without, auto: false }, 'input');
});
element.addEventListener('input', (e) => {
  e.stopPropagation();
  if (e.target.dataset.knob) put({ [e.target.dataset.knob]: Number(e.target.value), auto: false }, 'input');
});
element.addEventListener('change', (e) => {
  e.stopPropagation();
  if (e.target.matches('.pixels')) put({ pixels: e.target.checked }, 'input');
  if (e.target.matches('.sharpen')) put({ sharp: e.target.checked, auto: false }, 'input');
  const asked = e.target.matches('.ask') && e.target.value.trim();
  if (asked) put({ ask: asked, auto: false }, 'apply');
  if (e.target.matches('.show')) put({ show: e.target.checked }, 'select');
});
interactive(draw);
