// One-click examples. Value: {items: [{title, hint, src}], clicked}; src may be empty.
import { board, interactive, make, put } from './common.js';

function draw() {
  const b = board();
  if (!b) return;
  const { items = [], clicked = null } = props.value || {};
  if (b.children.length !== items.length) {
    b.replaceChildren(
      ...items.map((item, i) => {
        const button = make('button', 'example', null, { 'data-i': i, title: item.hint });
        if (item.src) button.append(make('img', '', null, { src: item.src, alt: '' }));
        button.append(make('b', '', item.title), make('span', '', item.hint));
        return button;
      }),
    );
  }
  for (const [i, button] of [...b.children].entries()) button.classList.toggle('on', i === clicked);
}
element.addEventListener('click', (e) => {
  const button = e.target.closest('.example');
  if (button) put({ clicked: Number(button.dataset.i) }, 'select');
});
// The mark says what the page shows: it goes once something else is asked for.
const unmark = (e, others) => {
  if (e.target.closest?.(others) && props.value?.clicked != null) put({ clicked: null });
};
document.addEventListener(
  'input',
  (e) => unmark(e, '#source-prompt, #edit-prompt, #yours-prompt, #seed'),
  true,
);
document.addEventListener('click', (e) => unmark(e, '#generate, #invert, #dice, .shot'), true);
interactive(draw);
