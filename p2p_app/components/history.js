// Every edit made, one click back; compare two. Value: {items: [{src, title}], current, clicked, against}.
import { board, interactive, make, put } from './common.js';

let comparing = false;
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
