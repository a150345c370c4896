// A strip over one control or a grid over two. Value: see `ExploreValue`.
import { board, interactive, make, put } from './common.js';

const EMPTY = [
  'Generate a picture, then explore any control:',
  'one run, and the steps that pictures share are computed once.',
].join(' ');
function choice(name, label) {
  const box = make('label', 'choice');
  box.append(make('span', '', label), make('select', name, null, { 'data-axis': name, 'aria-label': label }));
  return box;
}
function build(b) {
  const bar = make('div', 'row setup');
  const count = (name, label, min, max) => {
    const box = make('label', `choice count ${name}`);
    box.append(
      make('span', '', label),
      make('input', '', null, { type: 'number', min, max, step: 1, 'data-count': name, 'aria-label': label }),
    );
    return box;
  };
  bar.append(
    choice('x', 'along'),
    count('n', 'pictures', 2, 13),
    choice('y', 'down'),
    count('m', 'rows', 2, 7),
    make('button', 'go', 'Explore'),
  );
  const meter = make('div', 'meter');
  meter.append(make('i'));
  b.append(bar, meter, make('p', 'hint'), make('div', 'sheet'));
}
function options(select, axes, value, none) {
  const signature = JSON.stringify([axes, none]);
  if (select.dataset.made !== signature) {
    select.replaceChildren(
      ...(none ? [make('option', '', none, { value: '' })] : []),
      ...axes.map(([name, label]) => make('option', '', label, { value: name })),
    );
    select.dataset.made = signature;
  }
  select.value = value;
}
function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) build(b);
  const v = {
    axes: [],
    x: '',
    y: '',
    n: 11,
    m: 5,
    cells: [],
    columns: 1,
    along: '',
    down: '',
    step: 0,
    total: 0,
    clicked: null,
    ...(props.value || {}),
  };
  options(b.querySelector('.x'), v.axes, v.x);
  options(b.querySelector('.y'), v.axes, v.y, 'nothing: one strip');
  b.querySelector('.count.m').hidden = !v.y;
  for (const input of b.querySelectorAll('[data-count]'))
    if (document.activeElement !== input) input.value = v[input.dataset.count];
  b.querySelector('.meter i').style.width = v.total ? `${(100 * v.step) / v.total}%` : '0';
  b.querySelector('.hint').textContent = !v.axes.length
    ? EMPTY
    : v.cells.length
      ? `${v.along}${v.down ? ` \u00d7 ${v.down}` : ''} \u00b7 click a picture to take its settings`
      : 'Pick a control; every picture of the strip is the edit with another value of it.';
  const sheet = b.querySelector('.sheet');
  const signature = v.cells.map((c) => c.src.length + c.captions.join()).join('|') + v.columns;
  if (sheet.dataset.made !== signature) {
    sheet.dataset.made = signature;
    sheet.style.setProperty('--columns', v.columns);
    sheet.replaceChildren(
      ...v.cells.map((cell, i) => {
        const button = make('button', 'cell', null, {
          'data-i': i,
          'aria-label': `take the settings at ${cell.captions.join(', ')}`,
        });
        const image = make('img', '', null, { alt: '' });
        if (/^data:image\/jpeg;base64,/.test(cell.src)) image.src = cell.src;
        button.append(image, make('span', '', cell.captions.join(' \u00b7 ')));
        return button;
      }),
    );
  }
  for (const [i, cell] of [...sheet.querySelectorAll('.cell')].entries())
    cell.classList.toggle('on', i === v.clicked);
}
// what somebody chooses stays here, whatever a run or an offer says meanwhile; unless it is gone
const chosen = {};
element.addEventListener('change', (e) => {
  e.stopPropagation();
  const { axis, count } = e.target.dataset;
  if (!axis && !count) return;
  chosen[axis || count] = axis ? e.target.value : Number(e.target.value);
  put({ [axis || count]: chosen[axis || count] });
});
element.addEventListener('input', (e) => e.stopPropagation());
element.addEventListener('click', (e) => {
  const cell = e.target.closest('.cell');
  if (!cell && !e.target.closest('.go')) return;
  chosen.clicked = cell ? Number(cell.dataset.i) : null;
  put({ clicked: chosen.clicked }, cell ? 'select' : 'apply');
});
// what can be explored follows the words: asked for when somebody comes near
let asked = -1e9;
function near(e) {
  if (e?.target?.closest?.('.cell')) return; // it is about to be taken
  if (performance.now() - asked > 2000 && document.querySelector('.pill.ready')) {
    asked = performance.now();
    trigger('focus');
  }
}
for (const event of ['pointerenter', 'focusin']) element.addEventListener(event, near);
new IntersectionObserver((seen) => {
  if (seen.some((entry) => entry.isIntersecting)) near();
}).observe(element);
function receive() {
  const v = props.value || {};
  const names = (v.axes || []).map(([name]) => name);
  for (const axis of ['x', 'y'])
    if (axis in chosen && chosen[axis] && !names.includes(chosen[axis])) delete chosen[axis];
  if (Object.entries(chosen).some(([name, value]) => v[name] !== value)) props.value = { ...v, ...chosen };
  draw();
}
interactive(draw, receive);
