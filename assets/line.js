// The one line that says what happened. Value: {kind, parts: [{text, strong}], step, total, edited}, see ui/widgets.py.
function draw() {
  const b = board();
  if (!b) return;
  if (!b.children.length) { // built once: a button that is replaced under the finger loses its click
    const meter = make('div', 'meter');
    meter.append(make('i'));
    const text = make('p', 'text', null, { role: 'status' });
    text.append(make('span', 'words'), make('button', 'quiet stop', 'stop'), make('button', 'quiet next', 'use as source', { title: 'the edit that is shown becomes the source of the next one' }));
    b.append(meter, text);
  }
  const { kind = 'idle', parts = [], step = 0, total = 0, edited = false, at = 0 } = props.value || {};
  b.dataset.kind = kind;
  b.dataset.runs = Number(b.dataset.runs || 0) + (kind === 'done'); // finished so far; the tests wait for it
  if (kind !== 'busy') b.dataset.at = Math.max(at, Number(b.dataset.at || 0)); // the latest act that is answered
  b.querySelector('.meter i').style.width = kind === 'busy' && total ? `${(100 * step) / total}%` : '0';
  b.querySelector('.words').replaceChildren(...parts.map((part) => make(part.strong ? 'b' : 'span', '', part.text)));
  b.querySelector('.stop').hidden = kind !== 'busy';
  b.querySelector('.next').hidden = !edited;
}
element.addEventListener('click', (e) => {
  if (e.target.closest('.stop')) trigger('stop');
  if (e.target.closest('.next')) trigger('apply');
});
watch('value', draw);
draw();
