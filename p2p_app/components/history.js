// Every edit made, one click back; compare two. Value: {items: [{src, title}], current, clicked, against}.
import { board, interactive, make, put } from './common.js';

let comparing = false;
// What was shown, one after the other, by the keys of the pictures: undo goes back in it, redo forth.
let trail = [];
let place = -1;
let seen = null; // what is shown; a step that is under way has another place already
const undoers = () => [document.querySelector('#undo'), document.querySelector('#redo')];
function follow(items, current) {
  const key = items[current]?.key;
  if (!key) return;
  if (!trail.length) {
    trail = items.slice(0, current + 1).map((item) => item.key); // the page was loaded again
    place = current;
  } else if (key !== seen && trail[place] !== key) {
    trail = [...trail.slice(0, place + 1), key];
    place = trail.length - 1;
  }
  seen = key;
  undoers().forEach((button, i) => {
    if (!button) return;
    button.disabled = i ? place >= trail.length - 1 : place < 1;
    button.onclick = () => step(i ? 1 : -1);
  });
}
function step(by) {
  const items = props.value?.items || [];
  const n = items.findIndex((item) => item.key === trail[place + by]);
  if (n < 0) return;
  place += by;
  put({ clicked: n, against: null }, 'select');
}
function build(b) {
  // once, and a shot stays the same button: whoever stands on it stays there
  const bar = make('div', 'row tools');
  bar.append(
    make('button', 'quiet compare', null, { title: 'put another edit beside the one that is shown' }),
  );
  b.append(
    make('p', 'empty', 'Every edit you make is kept here, one click back.'),
    make('div', 'shelf'),
    bar,
  );
}
function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) build(b);
  const { items = [], current = null, against = null } = props.value || {};
  follow(items, current);
  b.querySelector('.empty').hidden = items.length > 0;
  b.querySelector('.tools').hidden = items.length === 0;
  const compare = b.querySelector('.compare');
  compare.textContent = comparing ? 'compare with \u2026' : against === null ? 'compare' : 'end comparing';
  compare.setAttribute('aria-pressed', String(comparing || against !== null));
  compare.disabled = items.length < 2;
  const shelf = b.querySelector('.shelf');
  while (shelf.children.length > items.length) shelf.lastChild.remove();
  items.forEach((item, i) => {
    let button = shelf.children[i];
    if (!button) {
      button = make('button', 'shot', null, { 'data-i': i });
      button.append(make('img', '', null, { alt: '' }));
      shelf.append(button);
    }
    button.style.order = -i; // the newest first; whoever tabs goes the same way where browsers can
    button.dataset.kind = item.kind;
    button.className = ['shot', i === current ? 'on' : '', i === against ? 'against' : '']
      .filter(Boolean)
      .join(' ');
    button.setAttribute('aria-label', item.title);
    button.setAttribute('aria-current', String(i === current));
    button.title = item.title;
    const image = button.firstChild;
    if (/^data:image\/jpeg;base64,/.test(item.src) && image.src !== item.src) image.src = item.src;
  });
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.compare')) {
    if (props.value?.against !== null && props.value?.against !== undefined) {
      put({ against: null }, 'apply');
      return;
    }
    comparing = !comparing;
    draw();
    return;
  }
  const button = e.target.closest('.shot');
  if (!button) return;
  const i = Number(button.dataset.i);
  if (comparing) {
    comparing = false;
    put({ against: i }, 'apply');
  } else put({ clicked: i, against: null }, 'select');
});
interactive(draw);
