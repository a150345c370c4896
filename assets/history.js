// Every edit made, one click back. Value: {items: [{src, title}], current, clicked}.
function draw() {
  const b = board();
  if (!b) return;
  const { items = [], current = null } = props.value || {};
  if (!items.length) {
    b.replaceChildren(make('p', 'empty', 'Every edit you make is kept here, one click back.'));
    return;
  }
  const shelf = make('div', 'shelf');
  items.forEach((item, i) => {
    const button = make('button', i === current ? 'shot on' : 'shot', null, { 'data-i': i, 'aria-label': item.title });
    button.title = item.title;
    const image = make('img', '', null, { alt: '' });
    if (/^data:image\/jpeg;base64,/.test(item.src)) image.src = item.src;
    button.append(image);
    shelf.append(button);
  });
  b.replaceChildren(shelf);
}
element.addEventListener('click', (e) => {
  const button = e.target.closest('.shot');
  if (button) put({ clicked: Number(button.dataset.i) }, 'select');
});
watch('value', draw);
draw();
