// Every edit made, one click back; compare two. Value: {items: [{src, title}], current, clicked, against}.
let comparing = false;
function draw() {
  const b = board();
  if (!b) return;
  const { items = [], current = null, against = null } = props.value || {};
  if (!items.length) {
    b.replaceChildren(make('p', 'empty', 'Every edit you make is kept here, one click back.'));
    return;
  }
  const bar = make('div', 'row tools');
  const compare = make('button', 'quiet compare', comparing ? 'compare with \u2026' : against === null ? 'compare' : 'end comparing', {
    title: 'put another edit beside the one that is shown', 'aria-pressed': String(comparing),
  });
  compare.disabled = items.length < 2;
  bar.append(compare);
  const shelf = make('div', 'shelf');
  items.forEach((item, i) => {
    const cls = ['shot', i === current ? 'on' : '', i === against ? 'against' : ''].join(' ');
    const button = make('button', cls, null, { 'data-i': i, 'aria-label': item.title });
    button.title = item.title;
    const image = make('img', '', null, { alt: '' });
    if (/^data:image\/jpeg;base64,/.test(item.src)) image.src = item.src;
    button.append(image);
    shelf.append(button);
  });
  b.replaceChildren(shelf, bar);
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.compare')) {
    if (props.value?.against !== null && props.value?.against !== undefined) { put({ against: null }, 'apply'); return; }
    comparing = !comparing;
    draw();
    return;
  }
  const button = e.target.closest('.shot');
  if (!button) return;
  const i = Number(button.dataset.i);
  if (comparing) { comparing = false; put({ against: i }, 'apply'); } else put({ clicked: i, against: null }, 'select');
});
watch('value', draw);
draw();
