// Two pictures, one over the other, with a line between them to drag.
// Value: {before, after, names, texts}: two files, the names of the sides, and what they show.
import { board, make, setText, shows } from './common.js';

const MARGIN = 18; // percent: a side's name goes where the line comes near
let at = 50; // percent of the width that shows the first picture; stays when the pictures change

function build(b) {
  const grip = make('span', 'grip');
  grip.append(make('i', '', '\u25e2'), make('i'), make('i', '', '\u25e2'));
  const line = make('div', 'split');
  line.append(grip);
  const label = `line between ${b.dataset.sides}`;
  const range = make('input', '', null, { type: 'range', min: 0, max: 100, step: 1, 'aria-label': label });
  range.addEventListener('pointerdown', () => {
    range.step = 'any'; // the line follows the pointer by pixels, keys move it by percents
  });
  for (const end of ['pointerup', 'pointercancel'])
    range.addEventListener(end, () => {
      range.step = 1;
      move(range);
    });
  range.addEventListener('input', () => move(range));
  const image = (cls) => make('img', cls, null, { draggable: 'false' }); // only the line is dragged
  b.append(image(''), image('over'), line, range);
  b.append(make('span', 'side before'), make('span', 'side after'));
}
function move(range) {
  at = Number(range.value);
  place(board());
}
function place(b) {
  const [before, after] = b.querySelectorAll('img');
  const [left, right] = b.querySelectorAll('.side');
  const range = b.querySelector('input');
  const there = !after.hidden;
  b.style.setProperty('--at', `${at}%`);
  after.style.clipPath = `inset(0 0 0 ${at}%)`;
  const whole = Math.round(at);
  range.hidden = !there;
  range.setAttribute(
    'aria-valuetext',
    `${whole} % ${left.textContent}, ${100 - whole} % ${right.textContent}`,
  );
  b.querySelector('.split').hidden = !there;
  left.hidden = !there || at < MARGIN;
  right.hidden = !there || at > 100 - MARGIN || before.src === after.src;
}
function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) build(b);
  const { before, after, names = [], texts = [] } = props.value || {};
  const sides = b.querySelectorAll('.side');
  for (const [i, file] of [before, after].entries()) {
    const image = b.querySelectorAll('img')[i];
    image.hidden = !file;
    if (file && image.getAttribute('src') !== file.url) image.src = file.url;
    image.alt = texts[i] || '';
    setText(sides[i], names[i] || '');
  }
  place(b);
}
shows(draw);
