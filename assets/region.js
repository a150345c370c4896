// Local blend from words. Value: {words: [{text, key, old}], chosen: [key], threshold, show}, see ui/region.py.
function draw() {
  const b = board();
  if (!b) return;
  const { words = [], chosen = [], threshold = 0.3, show = false } = props.value || {};
  const signature = JSON.stringify(words);
  if (b.dataset.words !== signature || !b.children.length) {
    const bar = make('div', 'bar');
    const label = make('label', 'check');
    label.append(make('input', 'show', null, { type: 'checkbox' }), make('span', '', 'show on the picture'));
    bar.append(make('h2', '', 'Region'), label);
    const row = make('p', 'row');
    for (const word of words) {
      const chip = make('button', 'chip pick', null, { 'data-key': word.key });
      if (word.old) chip.append(make('s', '', word.old));
      if (word.text) chip.append(make('b', '', word.text));
      row.append(chip);
    }
    const knob = make('label', 'knob');
    knob.append(make('span', '', 'threshold'),
      make('input', 'threshold', null, { type: 'range', min: 0.05, max: 0.95, step: 0.05, 'aria-label': 'threshold of the region' }),
      make('output'));
    b.replaceChildren(bar, row, make('p', 'hint'), knob);
    b.dataset.words = signature;
  }
  const all = !chosen.length;
  for (const chip of b.querySelectorAll('.chip')) {
    const on = chosen.includes(chip.dataset.key);
    chip.classList.toggle('on', on);
    chip.setAttribute('aria-pressed', String(on));
  }
  b.querySelector('.hint').textContent = all
    ? 'Pick words to change only where they are.'
    : 'Everywhere else stays the source.';
  b.querySelector('.show').checked = show;
  b.querySelector('.check').classList.toggle('off', all);
  b.querySelector('.show').disabled = all;
  b.querySelector('.knob').classList.toggle('off', all);
  b.querySelector('.threshold').disabled = all;
  b.querySelector('.threshold').value = threshold;
  b.querySelector('output').textContent = threshold.toFixed(2);
}
element.addEventListener('click', (e) => {
  const chip = e.target.closest('.chip');
  if (!chip) return;
  const chosen = props.value?.chosen || [];
  const key = chip.dataset.key;
  put({ chosen: chosen.includes(key) ? chosen.filter((k) => k !== key) : [...chosen, key] }, 'input');
});
element.addEventListener('input', (e) => {
  e.stopPropagation();
  if (e.target.matches('.threshold')) put({ threshold: Number(e.target.value) }, 'input');
});
element.addEventListener('change', (e) => {
  e.stopPropagation();
  if (e.target.matches('.show')) put({ show: e.target.checked }, 'select');
});
watch('value', arrived);
draw();
