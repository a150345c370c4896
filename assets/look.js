// Where the picked word looks. Value: {word, old, before, after, step, total, region, busy}, see ui/widgets.py.
function frame(src, caption) {
  const figure = make('figure');
  const image = make('img', '', null, { alt: caption });
  if (/^data:image\/jpeg;base64,/.test(src)) image.src = src;
  figure.append(image, make('figcaption', '', caption));
  return figure;
}
function draw() {
  const b = board();
  if (!b) return;
  const v = props.value || {};
  if (!v.word && !v.old) {
    b.replaceChildren(make('h2', '', 'Where a word looks'), make('p', 'empty', 'Click a word under its fader: its attention is drawn over the picture, in the source and in the edit.'));
    return;
  }
  const focused = b.contains(document.activeElement) && document.activeElement.type === 'range';
  const bar = make('div', 'bar');
  bar.append(make('h2', '', `Where \u201c${v.word || v.old}\u201d looks`));
  if (v.key) bar.append(make('button', v.region ? 'quiet only on' : 'quiet only', v.region ? 'edit everywhere' : 'edit only there'));
  const pair = make('div', 'pair');
  if (v.before) pair.append(frame(v.before, `source: ${v.old}`));
  if (v.after) pair.append(frame(v.after, `edit: ${v.word}`));
  else if (v.stale) {
    const again = make('button', 'again', 'look in the edit');
    pair.append(again);
  }
  const steps = make('label', 'steps');
  const input = make('input', '', null, { type: 'range', min: 0, max: v.total || 1, step: 1, 'aria-label': 'step of the map, 0 for the mean of all' });
  input.value = v.step || 0;
  steps.append(input, make('span', '', v.step ? `step ${v.step} of ${v.total}` : `mean of ${v.total} steps`));
  b.replaceChildren(bar, pair, steps);
  if (focused) input.focus();
}
element.addEventListener('input', (e) => {
  if (e.target.type !== 'range') return;
  e.stopPropagation();
  put({ step: Number(e.target.value) }, 'input');
});
element.addEventListener('change', (e) => e.stopPropagation());
element.addEventListener('click', (e) => {
  if (e.target.closest('.only')) trigger('select');
  if (e.target.closest('.again')) trigger('input');
});
watch('value', draw);
draw();
