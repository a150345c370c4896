// Where the picked word looks. Value: {word, old, key, before, after, step, total, region, stale}.
import { board, interactive, make, put } from './common.js';

function frame(name) {
  const figure = make('figure', name);
  figure.append(make('img', '', null, { alt: '' }), make('figcaption'));
  return figure;
}
function build(b) {
  // once: a slider that is replaced under the finger stops moving
  const empty = make('div', 'nothing');
  empty.append(
    make('h2', '', 'Where a word looks'),
    make(
      'p',
      'empty',
      'Click a word under its fader: the places it looks at light up, in the source and in the edit.',
    ),
  );
  const view = make('div', 'view');
  const bar = make('div', 'bar');
  bar.append(make('h2'), make('button', 'quiet only'));
  const pair = make('div', 'pair');
  const again = make('button', 'again', null, { title: 'draw the map of this word in the edit' });
  again.append(make('img', '', null, { alt: '' }), make('span', '', 'and in the edit?'));
  pair.append(frame('before'), frame('after'), again);
  const steps = make('label', 'steps');
  steps.append(
    make('input', '', null, {
      type: 'range',
      min: 0,
      step: 1,
      'aria-label': 'step of the map, 0 for the mean of all',
    }),
    make('span'),
  );
  view.append(bar, pair, steps);
  b.append(empty, view);
}
function show(figure, src, caption) {
  figure.hidden = !/^data:image\/jpeg;base64,/.test(src || '');
  if (!figure.hidden && figure.firstChild.src !== src) figure.firstChild.src = src;
  figure.firstChild.alt = caption;
  figure.lastChild.textContent = caption;
}
function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) build(b);
  const v = props.value || {};
  const any = !!(v.word || v.old);
  b.querySelector('.nothing').hidden = any;
  b.querySelector('.view').hidden = !any;
  b.querySelector('.view h2').textContent = `Where \u201c${v.word || v.old}\u201d looks`;
  const only = b.querySelector('.only');
  only.hidden = !v.key;
  only.classList.toggle('on', !!v.region);
  only.textContent = v.region ? 'edit everywhere' : 'edit only there';
  only.title = v.region
    ? 'take this word out of the region'
    : 'the edit may change the picture only where this word looks';
  show(b.querySelector('.before'), v.before, `source: ${v.old}`);
  show(b.querySelector('.after'), v.after, `edit: ${v.word}`);
  const again = b.querySelector('.again');
  again.hidden = !!v.after || !v.stale;
  const edit = document.querySelector('#history .shot.on img')?.src; // dimmed, until the map is asked for
  again.firstChild.hidden = !edit;
  if (edit && again.firstChild.src !== edit) again.firstChild.src = edit;
  const input = b.querySelector('input');
  input.max = v.total || 1;
  input.value = v.step || 0;
  b.querySelector('.steps span').textContent = v.step
    ? `step ${v.step} of ${v.total}`
    : `mean of ${v.total} steps`;
}
element.addEventListener('input', (e) => {
  e.stopPropagation();
  put({ step: Number(e.target.value) }, 'input');
});
element.addEventListener('change', (e) => e.stopPropagation());
element.addEventListener('click', (e) => {
  if (e.target.closest('.only')) trigger('select');
  if (e.target.closest('.again')) trigger('input');
});
interactive(draw);
